import { request } from 'node:http'
import { commandTimeoutMs } from './limits.ts'

export interface ApiAnswer {
  status: number
  body: unknown
}

/** One request to an agent's unix socket. It costs no process, so it can be asked often; stories otherwise use the CLI. */
export function askApi(socketPath: string, method: string, path: string, body?: unknown): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    const text = body == null ? undefined : JSON.stringify(body)
    const call = request(
      {
        socketPath,
        method,
        path,
        timeout: commandTimeoutMs,
        headers: text == null ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const answer = Buffer.concat(chunks).toString()
          const json = /json/.test(response.headers['content-type'] ?? '')
          resolve({ status: response.statusCode ?? 0, body: json && answer !== '' ? JSON.parse(answer) : answer })
        })
      }
    )
    call.on('timeout', () => call.destroy(new Error(`${method} ${path}: no answer`)))
    call.on('error', reject)
    call.end(text)
  })
}
