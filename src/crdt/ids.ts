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
const LENGTH = 26
const CODES = Buffer.from(BASE32)
/** Of a character's code; -1 for one that is in no ULID. */
const VALUES = Int8Array.from({ length: 128 }, (_, code) => BASE32.indexOf(String.fromCharCode(code)))

/** Puts the 128 bits of a ULID into four words, from `at` on; false for a text that is none, of which there is nothing to use. */
export function packUlid(text: string, words: Uint32Array, at: number): boolean {
  if (text.length !== LENGTH || !(text.charCodeAt(0) <= 0x37)) return false
  let [word, next] = [0, at]
  // Three bits of the first character and five of each other one.
  let bits = -2
  for (let i = 0; i < LENGTH; i++) {
    const five = VALUES[text.charCodeAt(i)] ?? -1
    if (five < 0) return false
    const rest = bits + 5 - 32
    if (rest < 0) {
      word = (word << 5) | five
      bits += 5
    } else {
      words[next++] = (word << (5 - rest)) | (five >>> rest)
      word = five & ((1 << rest) - 1)
      bits = rest
    }
  }
  return true
}

const characters = Buffer.alloc(LENGTH)

/** The ULID of these words. */
export function unpackUlid(...words: [number, number, number, number]): string {
  // What is left of the word before, and how many bits: at first those that 26 characters have too many.
  let [left, bits, next] = [0, 2, 0]
  for (const word of words) {
    let rest = 27 + bits
    characters[next++] = CODES[(left << (5 - bits)) | (word >>> rest)] as number
    for (; rest >= 5; rest -= 5) characters[next++] = CODES[(word >>> (rest - 5)) & 31] as number
    left = word & ((1 << rest) - 1)
    bits = rest
  }
  return characters.toString('latin1')
}

/** A new id for which `taken` is false for its first fifteen characters. */
export function newServiceId(clock: Clock, random: Random, taken: (prefix: string) => boolean): string {
  for (let attempt = 0; attempt < idAttemptsMax; attempt++) {
    const id = newId(clock, random)
    if (!taken(id.slice(0, deviceNameLength))) return id
  }
  throw new UnavailableError('no free device name was found for the service; try again')
}
