/** `HOST:PORT` / `[v6]:PORT` of a TCP or UDP multiaddr with an IP address; null for anything else (names, relays). */
export function multiaddrHostPort(address: string): string | null {
  const [, family, host, transport, port] = address.split('/')
  if ((transport !== 'tcp' && transport !== 'udp') || port == null || !/^\d{1,5}$/.test(port)) return null
  if (family === 'ip4') return `${host}:${port}`
  if (family === 'ip6') return `[${host}]:${port}`
  return null
}
