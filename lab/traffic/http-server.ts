/**
 * An HTTP server that says whom it sees. `GET /file` answers BYTES bytes made of TEXT, `GET /whoami` the caller's address
 * and port, `POST /upload` the SHA-256 of what was sent.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import { payload, sha256 } from './payload.ts'
import { argumentsOf, say } from './say.ts'

const [port, bytes, text, ...addresses] = argumentsOf('PORT', 'BYTES', 'TEXT', 'ADDRESS') as [string, string, string]
const body = payload(text, Number(bytes))
const digest = sha256(body)

for (const address of addresses as string[]) {
  const server = createServer((request, response) => {
    const { remoteAddress, remotePort } = request.socket
    say('request', { method: request.method, path: request.url, from: remoteAddress, from_port: remotePort })
    if (request.url === '/file') {
      response.writeHead(200, { 'content-length': body.length, 'x-sha256': digest }).end(body)
    } else if (request.url === '/upload') {
      const hash = createHash('sha256')
      request.on('data', (chunk: Buffer) => hash.update(chunk))
      request.on('end', () => response.end(hash.digest('hex')))
    } else {
      response.end(JSON.stringify({ address: remoteAddress, port: remotePort }))
    }
  })
  server.listen({ host: address, port: Number(port), backlog: 4096 }, () => {
    say('listening', { address, port: Number(port), sha256: digest })
  })
}
