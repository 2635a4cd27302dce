import { writeFileSync } from 'node:fs'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { CIPHER, listening, selfSigned, type Listen } from './proxy.ts'

/** Where distributions put the stream module, which is loaded by path. */
const MODULE = '/usr/lib/nginx/modules/ngx_stream_module.so'

/** nginx's stream proxy as an entry: in the clear in, TLS out; a process for each core, 64 KiB buffers. */
export const nginxEntry = (host: Host, listens: readonly Listen[]): Promise<Task> =>
  nginx(host, 'entry', listens, '', [
    'proxy_ssl on',
    'proxy_ssl_verify off',
    'proxy_ssl_protocols TLSv1.3',
    `proxy_ssl_conf_command Ciphersuites ${CIPHER}`,
    'proxy_ssl_session_reuse on'
  ])

/** The other way around. */
export async function nginxExit(host: Host, listens: readonly Listen[]): Promise<Task> {
  const pem = host.path('nginx.pem')
  await selfSigned(pem)
  return await nginx(host, 'exit', listens, ' ssl', [
    `ssl_certificate ${pem}.crt`,
    `ssl_certificate_key ${pem}.key`,
    'ssl_protocols TLSv1.3',
    `ssl_conf_command Ciphersuites ${CIPHER}`
  ])
}

async function nginx(
  host: Host,
  role: string,
  listens: readonly Listen[],
  listenFlags: string,
  settings: readonly string[]
): Promise<Task> {
  const servers = listens.map(({ port, to }) => {
    const lines = [`listen ${port}${listenFlags} reuseport backlog=65535`, `proxy_pass ${to.address}:${to.port}`]
    return `server { ${[...lines, 'tcp_nodelay on', ...settings].map((line) => `${line};`).join(' ')} }`
  })
  const file = host.path(`nginx-${role}.conf`)
  writeFileSync(
    file,
    `load_module ${MODULE};
user root; worker_processes 2; daemon off; pid ${host.path(`nginx-${role}.pid`)}; error_log stderr crit;
events { worker_connections 8000; }
stream {
  proxy_buffer_size 64k;
  ${servers.join('\n  ')}
}
`
  )
  const task = await host.spawn(['nginx', '-e', 'stderr', '-c', file])
  await listening(
    host,
    task,
    listens.map(({ port }) => port)
  )
  return task
}
