import { writeFileSync } from 'node:fs'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { CIPHER, listening, selfSigned, type Listen } from './proxy.ts'

export const stunnelEntry = (host: Host, listens: readonly Listen[]): Promise<Task> =>
  stunnel(host, 'entry', listens, ['client = yes', 'sslVersion = TLSv1.3'])

export async function stunnelExit(host: Host, listens: readonly Listen[]): Promise<Task> {
  const pem = host.path('stunnel.pem')
  await selfSigned(pem)
  return await stunnel(host, 'exit', listens, [`cert = ${pem}`])
}

async function stunnel(
  host: Host,
  role: string,
  listens: readonly Listen[],
  settings: readonly string[]
): Promise<Task> {
  const global = ['foreground = yes', 'pid =', 'debug = 3', 'socket = l:TCP_NODELAY=1', 'socket = r:TCP_NODELAY=1']
  const services = listens.flatMap(({ port, to }) => [
    `[p${port}]`,
    `accept = ${port}`,
    `connect = ${to.address}:${to.port}`,
    `ciphersuites = ${CIPHER}`,
    ...settings
  ])
  const file = host.path(`stunnel-${role}.conf`)
  writeFileSync(file, `${[...global, ...services].join('\n')}\n`)
  const task = await host.spawn(['stunnel4', file])
  await listening(
    host,
    task,
    listens.map(({ port }) => port)
  )
  return task
}
