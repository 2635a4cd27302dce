import { writeFileSync } from 'node:fs'
import type { Host } from '../lab/host.ts'
import { run } from '../lab/command.ts'
import type { Task } from '../lab/task.ts'
import { until } from '../lab/wait.ts'

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
const CIPHER = 'ciphersuites TLS_AES_128_GCM_SHA256'

interface Listen {
  port: number
  to: { address: string; port: number }
}

/** The entry: takes connections in the clear and hands them on, in TLS or as they are. */
export const entry = (host: Host, listens: readonly Listen[], tls: boolean): Promise<Task> =>
  haproxy(host, listens, (port) => `  bind :${port} backlog 65535`, tls ? ` ssl ${CIPHER} force-tlsv13` : '')

/** The exit: the other way around. */
export async function exit(host: Host, listens: readonly Listen[], tls: boolean): Promise<Task> {
  const pem = host.path('haproxy.pem')
  if (tls) await selfSigned(pem)
  const bind = tls ? ` ssl crt ${pem} ${CIPHER} ssl-min-ver TLSv1.3` : ''
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
  await until(
    'HAProxy to listen',
    async () => {
      if (!task.running) throw new Error(task.stderr)
      const sockets = await host.exec(['ss', '-Hltn'])
      return ports.every((port) => sockets.includes(`:${port} `))
    },
    { timeoutMs: 5000 }
  )
  return task
}

async function selfSigned(pem: string): Promise<void> {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const files = ['-keyout', `${pem}.key`, '-out', `${pem}.crt`]
  await run(['openssl', 'req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=bench', ...curve, ...files])
  await run(['sh', '-c', 'cat "$0.crt" "$0.key" > "$0"', pem])
}
