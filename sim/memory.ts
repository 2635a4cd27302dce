import { setFlagsFromString } from 'node:v8'

/**
 * Hundreds of replicas keep hundreds of MB outside of V8's heap. By default V8 then takes each new buffer for an alarm and
 * marks for 5 ms, so that a run of 200 peers took five times as long from some point on. With this it counts those bytes as
 * it does its own. Nothing that is computed depends on it.
 */
setFlagsFromString('--external-memory-accounted-in-global-limit')
