import { encodeTime } from 'ulid'
import { UnavailableError } from '../errors.ts'
import type { Clock } from '../clock.ts'
import type { Random } from '../random.ts'
import { idAttemptsMax } from './limits.ts'

/** ULIDs as every peer writes them: 26 characters of Crockford's base32, upper case, below 2^128. */
export const isUlid = (text: string): boolean => /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)

/** Characters of a service id that name its network device: all that the kernel has room for. */
export const deviceNameLength = 15
export const deviceNameOf = (serviceId: string): string => serviceId.slice(0, deviceNameLength).toLowerCase()

/**
 * A new ULID. All 80 bits after the time are random: a monotonic generator counts in the last characters and makes the
 * first fifteen, which name devices, collide for all that is created in one millisecond.
 */
export function newId(clock: Clock, random: Random): string {
  // The last five bits of each of sixteen bytes: 80 random bits, and one call for them all.
  return encodeTime(clock.now(), 10) + Array.from(random.bytes(16), (byte) => BASE32.charAt(byte & 31)).join('')
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** A new id for which `taken` is false for its first fifteen characters. */
export function newServiceId(clock: Clock, random: Random, taken: (prefix: string) => boolean): string {
  for (let attempt = 0; attempt < idAttemptsMax; attempt++) {
    const id = newId(clock, random)
    if (!taken(id.slice(0, deviceNameLength))) return id
  }
  throw new UnavailableError('no free device name was found for the service; try again')
}
