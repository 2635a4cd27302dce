import { writeFileSync } from 'node:fs'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { CIPHER, listening, selfSigned, type Listen } from './proxy.ts'

/** HAProxy as it is tuned for throughput: a thread for each core, 64 KiB buffers, TLS 1.3 with AES-GCM, no logs. */
const head = (mode: 'tcp' | 'http'): string => `global
  nbthread 2
  maxconn 8000
  tune.bufsize 65536
  ssl-server-verify none
defaults
  mode ${mode}
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`
const SUITE = `ciphersuites ${CIPHER}`

/** The entry: takes connections in the clear and hands them on, in TLS or as they are. */
export const entry = (host: Host, listens: readonly Listen[], tls: boolean): Promise<Task> =>
  haproxy(host, listens, (port) => `  bind :${port} backlog 65535`, tls ? ` ssl ${SUITE} force-tlsv13` : '')

/** The exit: the other way around. */
export async function exit(host: Host, listens: readonly Listen[], tls: boolean): Promise<Task> {
  const pem = host.path('haproxy.pem')
  if (tls) await selfSigned(pem)
  const bind = tls ? ` ssl crt ${pem} ${SUITE} ssl-min-ver TLSv1.3` : ''
  return await haproxy(host, listens, (port) => `  bind :${port} backlog 65535${bind}`, '')
}

/** An HTTP server that answers each request at once with three bytes: it is never what is measured. */
export async function answerer(host: Host, addresses: readonly string[], port: number): Promise<Task> {
  const binds = addresses.map((address) => `  bind ${address}:${port} backlog 65535`).join('\n')
  const config = `${head('http')}frontend f\n${binds}\n  http-request return status 200 content-type text/plain string "ok\\n"\n`
  return await start(host, config, [port])
}

function haproxy(
  host: Host,
  listens: readonly Listen[],
  bind: (port: number) => string,
  server: string
): Promise<Task> {
  const sections = listens.map(
    ({ port, to }) =>
      `frontend f${port}\n${bind(port)}\n  default_backend b${port}\nbackend b${port}\n  server s ${to.address}:${to.port}${server}\n`
  )
  return start(
    host,
    head('tcp') + sections.join(''),
    listens.map(({ port }) => port)
  )
}

async function start(host: Host, config: string, ports: readonly number[]): Promise<Task> {
  const file = host.path(`haproxy-${ports.join('-')}.cfg`)
  writeFileSync(file, config)
  const task = await host.spawn(['haproxy', '-db', '-f', file])
  await listening(host, task, ports)
  return task
}
