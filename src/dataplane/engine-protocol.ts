import type { EngineState } from './engine-state.ts'

/** The messages of engines/PROTOCOL.md, as this side reads and writes them. */

export type EngineName = 'pegasus' | 'tempest'

/** What an engine must speak. Another number is another language: such an engine is not adopted. */
export const PROTOCOL_VERSION = 1

/** How engines of two builds hand over to each other. Another number is another way: they do not. */
export const HAND_OVER_VERSION = 1

/** How an engine is told changes of its state. One that says another number, or none, is told whole states. */
export const CHANGES_VERSION = 1

export interface Listener {
  name: string
  port: number
}

export interface Hello {
  type: 'hello'
  engine: EngineName
  version: string
  protocol: number
  pid: number
  generation: number | null
  /** The version of changes that it takes. */
  changes?: number
  listeners?: Listener[]
  /** Pegasus: how many threads it has, how it hands over, and whether another one has taken its place. */
  workers?: number
  hand_over?: number
  has_successor?: boolean
}

export interface EngineError {
  /** `service:ID`, `peer:ID` or `engine`. */
  object: string
  code: string
  message: string
}

export interface Applied {
  type: 'applied'
  generation: number
  listeners?: Listener[]
  errors: EngineError[]
}

/** A change is not of the state that the engine has: it is to be told the whole. */
export interface NotApplied {
  type: 'not_applied'
  generation: number
  code: string
  message: string
}

/** An `event` line; the fields depend on `event`. */
export interface EngineEvent {
  type: 'event'
  event: string
  [field: string]: unknown
}

export interface ApplyMessage {
  generation: number
  /** X25519, base64; the one before while it is being changed. */
  privateKey: string
  privateKeyBefore: string | null
  state: EngineState
}
