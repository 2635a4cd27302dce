import { setFlagsFromString } from 'node:v8'

const FLAG = 'external-memory-accounted-in-global-limit'
let runs = 0

/**
 * Hundreds of replicas keep hundreds of MB outside of V8's heap. By default V8 then takes each new buffer for an alarm and
 * marks for 5 ms, so that a run of 200 peers took five times as long from some point on. From here on it counts those bytes as
 * it does its own. Nothing that is computed depends on it.
 *
 * What is returned ends it: V8 takes and makes compiled code under one set of flags alone (`src/kept-program.ts`).
 */
export function countMemoryOutside(): () => void {
  if (runs++ === 0) setFlagsFromString(`--${FLAG}`)
  return () => {
    if (--runs === 0) setFlagsFromString(`--no-${FLAG}`)
  }
}
