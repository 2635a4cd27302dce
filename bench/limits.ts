/** Bounds of the bench. */

/** Rounds: each contender is measured once a round, in turn, so that what disturbs the machine disturbs all of them. */
export const roundsDefault = 3

/** How long one measurement takes, seconds. */
export const secondsDefault = 4

/** Payload of a flooding datagram, bytes: with its headers it fits a tunnel of 1420. */
export const datagramBytes = 1372

/** Connections that the connection-rate test keeps in the air. */
export const shortConnections = 32
/** What each contender waits for before its ping-pong, ms: the one before it has written down by then what it has carried. */
export const restMs = 2_000

/** The real-time priority of all that a ping-pong passes: its client, who carries it, its server. */
export const realTimePriority = 10

/** Parallel flows of the second throughput test. */
export const manyFlows = 8

/** Extra time for a load generator to end by itself, ms. */
export const graceMs = 20_000

/** Peers that the services of the actors' bench lead to: a tunnel each. */
export const actorPeers = 200

/** Asks of another peer's actor: before it counts, one after the other, and how long 64 at a time. */
export const asksWarmUp = 300
export const asksAlone = 3_000
export const askSeconds = 4

/** Convergence: cluster sizes, those of whole agents (each more costs its square), changes per row, and the bad wire. */
export const convergencePeers: readonly number[] = [10, 30, 100, 300, 1_000]
export const wholeAgents: readonly number[] = [10, 30]
export const convergenceChanges = 20
export const convergenceLoss = 0.2

/** Soak: services at a time, and how often an agent is killed and one leaves, and for how long it is away, ms. */
export const soakServices = 200
export const soakKillEveryMs = 60_000
export const soakLeaveEveryMs = 150_000
export const soakAwayMs = 10_000
/** How often memory is looked at, ms, and from which minute on it should be flat. */
export const soakSampleMs = 5_000
export const soakSettledMinutes = 5
/** After that the fifth agent is killed no more. */
export const soakKillFifthMinutes = 4.5
/** A shorter line says nothing of a slope. */
export const soakSlopeMinutesMin = 5

/** Idle flows of one pair of engines: two descriptors each, of the 20,000 that a process may have here, and some for itself. */
export const flowsPerPair = 8_400
/** How long idle flows are watched, seconds: carriers are asked for a sign of life every 5. */
export const idleSeconds = 30
/** And of a pair of proxies, within what HAProxy is configured to take. */
export const flowsPerProxy = 3_000

/** The long link, both ways together, and new flows over it in a round. */
export const linkMs = 50
export const newFlows = 20
/** Mbit/s of the service whose thin flow is watched beside bulk. */
export const limitedMbps = 100
/** At the data port: who holds it open, who is a nuisance; and bytes there and back while they are there. */
export const halfOpenStrangers = 20_000
export const loudStrangers = 1_000
export const pings = 2_000
