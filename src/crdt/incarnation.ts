import type { Clock } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Disk } from './disk.ts'
import { isFull } from './full.ts'

/**
 * A number that this state directory has never used before, durable before it is returned. It is part of the author's
 * actor id: whatever a crash or a lying disk lost, no sequence number is ever given out twice, which would wedge every
 * peer that has seen the first one.
 *
 * It is the time, in seconds: a host that was restored from a backup does not know the numbers that it has used since, and who writes twice under
 * one is convicted of it. A clock that was set back, or is beyond what fits, makes it the one after the last.
 */
export async function nextIncarnation(path: string, disk: Disk, clock: Pick<Clock, 'now'>): Promise<number> {
  const previous = await readNumber(path, disk)
  const seconds = Math.floor(clock.now() / 1000)
  const next = seconds > previous && seconds <= LAST ? seconds : previous + 1
  if (next > LAST) throw new UnavailableError('this state directory has been started too often; join anew')
  const bytes = Buffer.from(`${next}\n`)
  try {
    await disk.write(path, bytes)
  } catch (error) {
    if (!isFull(error) || previous === 0 || bytes.length !== `${previous}\n`.length) throw error
    await replaceInPlace(path, bytes, disk)
  }
  return next
}

const LAST = 0xffff_ffff

/** On a full disk there is no room for a second file. A disk writes a sector, and so these few bytes, whole or not at all. */
async function replaceInPlace(path: string, bytes: Uint8Array, disk: Disk): Promise<void> {
  const file = await disk.open(path)
  try {
    await file.write(bytes, 0)
    await file.sync()
  } finally {
    await file.close()
  }
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
