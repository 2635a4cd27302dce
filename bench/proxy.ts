import { run } from '../lab/command.ts'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { until } from '../lab/wait.ts'

/** What every proxy with TLS speaks here; Pegasus seals with AES-256-GCM as well. */
export const CIPHER = 'TLS_AES_256_GCM_SHA384'

/** A port of a proxy, and where it hands on what comes in there. */
export interface Listen {
  port: number
  to: { address: string; port: number }
}

/** Makes a key and a certificate: `pem` holds both, `pem.crt` and `pem.key` one each. */
export async function selfSigned(pem: string): Promise<void> {
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
  const files = ['-keyout', `${pem}.key`, '-out', `${pem}.crt`]
  await run(['openssl', 'req', '-x509', '-nodes', '-days', '2', '-subj', '/CN=bench', ...curve, ...files])
  await run(['sh', '-c', 'cat "$0.crt" "$0.key" > "$0"', pem])
}

/** Until the proxy listens on all of its ports. Rejects with what it said when it ends instead. */
export const listening = (host: Host, task: Task, ports: readonly number[]): Promise<unknown> =>
  until(
    `${task.argv[0]} to listen`,
    async () => {
      if (!task.running) throw new Error(task.stderr)
      const sockets = await host.exec(['ss', '-Hltn'])
      return ports.every((port) => sockets.includes(`:${port} `))
    },
    { timeoutMs: 5000 }
  )
