import { UnavailableError } from '../errors.ts'
import type { Disk } from './disk.ts'

/**
 * A number that this state directory has never used before, durable before it is returned. It is part of the author's
 * actor id: whatever a crash or a lying disk lost, no sequence number is ever given out twice, which would wedge every
 * peer that has seen the first one.
 */
export async function nextIncarnation(path: string, disk: Disk): Promise<number> {
  const previous = await readNumber(path, disk)
  const next = previous + 1
  if (next > 0xffff_ffff) throw new UnavailableError('this state directory has been started too often; join anew')
  await disk.write(path, Buffer.from(`${next}\n`))
  return next
}

async function readNumber(path: string, disk: Disk): Promise<number> {
  const bytes = await disk.read(path)
  if (bytes == null) return 0
  const text = Buffer.from(bytes).toString('latin1')
  if (!/^\d{1,10}\n$/.test(text)) {
    throw new UnavailableError(`${path} is damaged; put in a number larger than this peer has ever used`, { path })
  }
  return Number(text)
}
