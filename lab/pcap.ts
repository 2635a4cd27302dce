import { closeSync, openSync, readSync } from 'node:fs'

/** One captured frame, as far as this lab asks. Ports are null for what has none. */
export interface Packet {
  protocol: 'tcp' | 'udp' | 'icmp' | 'other'
  source: string
  destination: string
  sourcePort: number | null
  destinationPort: number | null
  /** The whole frame, Ethernet header included. Valid until the next packet is read. */
  frame: Buffer
}

const MAGIC_LITTLE = 0xa1b2c3d4
const ETHERNET = 1
const FILE_HEADER_BYTES = 24
const RECORD_HEADER_BYTES = 16
const CHUNK_BYTES = 1024 * 1024

/** Reads a classic pcap file (little-endian, Ethernet) packet by packet. Throws on any other file. */
export function* packets(path: string): Generator<Packet> {
  const fd = openSync(path, 'r')
  try {
    let buffer = Buffer.alloc(0)
    const fill = (bytes: number): boolean => {
      while (buffer.length < bytes) {
        const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
        const read = readSync(fd, chunk)
        if (read === 0) return false
        buffer = Buffer.concat([buffer, chunk.subarray(0, read)])
      }
      return true
    }
    if (!fill(FILE_HEADER_BYTES)) throw new Error(`${path} is no capture: too short`)
    if (buffer.readUInt32LE(0) !== MAGIC_LITTLE || buffer.readUInt32LE(20) !== ETHERNET) {
      throw new Error(`${path} is no little-endian Ethernet capture`)
    }
    buffer = buffer.subarray(FILE_HEADER_BYTES)
    while (fill(RECORD_HEADER_BYTES)) {
      const length = buffer.readUInt32LE(8)
      // A record that tcpdump had not finished when it was stopped.
      if (!fill(RECORD_HEADER_BYTES + length)) return
      yield dissect(buffer.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + length))
      buffer = buffer.subarray(RECORD_HEADER_BYTES + length)
    }
  } finally {
    closeSync(fd)
  }
}

const PROTOCOLS: Record<number, Packet['protocol']> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp' }

function dissect(frame: Buffer): Packet {
  const etherType = frame.length >= 14 ? frame.readUInt16BE(12) : 0
  if (etherType === 0x0800 && frame.length >= 34) {
    const ip = frame.subarray(14)
    const payload = ip.subarray(((ip[0] ?? 0) % 16) * 4)
    const address = (at: number): string => [...ip.subarray(at, at + 4)].join('.')
    return { ...transport(ip[9] ?? 0, payload), source: address(12), destination: address(16), frame }
  }
  if (etherType === 0x86dd && frame.length >= 54) {
    const ip = frame.subarray(14)
    const address = (at: number): string =>
      Array.from({ length: 8 }, (_, i) => ip.readUInt16BE(at + 2 * i).toString(16)).join(':')
    return { ...transport(ip[6] ?? 0, ip.subarray(40)), source: address(8), destination: address(24), frame }
  }
  return { protocol: 'other', source: '', destination: '', sourcePort: null, destinationPort: null, frame }
}

function transport(number: number, payload: Buffer): Pick<Packet, 'protocol' | 'sourcePort' | 'destinationPort'> {
  const protocol = PROTOCOLS[number] ?? 'other'
  if ((protocol !== 'tcp' && protocol !== 'udp') || payload.length < 4) {
    return { protocol, sourcePort: null, destinationPort: null }
  }
  return { protocol, sourcePort: payload.readUInt16BE(0), destinationPort: payload.readUInt16BE(2) }
}
