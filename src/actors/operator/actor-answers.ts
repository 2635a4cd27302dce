import type { PeerId } from '../../crdt/schema.ts'
import type { RulePreview } from '../../dataplane/preview.ts'
import { UnavailableError } from '../../errors.ts'
import type { ActivityJson, FlowActivityJson, ServiceActivityJson, TunnelActivityJson } from './activity.ts'
import type { ActorDetailJson, ActorSentJson, ActorUpdateJson, TransitionJson } from './actor-json.ts'
import type { ConnectionsJson } from './connections.ts'
import type { ActorJson } from './operator.ts'

/**
 * What another agent answered about its actors, taken for what it says it is only after a look: it may be of another
 * version, and a member can send anything. UnavailableError for what is not of the shape.
 */

export const asTree = (answer: unknown): ActorJson => checked(answer, isTree)

/** The peer is the one that was asked, whatever the answer says. */
export const asDetail = (answer: unknown, peer: PeerId): ActorDetailJson => ({
  ...checked(answer, isDetail),
  peer_id: peer
})

export const asHistory = (answer: unknown): TransitionJson[] => checked(answer, isListOf(isStep))

export const asSent = (answer: unknown): ActorSentJson => checked(answer, isSent)

export const asPreview = (answer: unknown): RulePreview => checked(answer, isPreview)

/** As in `asDetail`. */
export const asActivity = (answer: unknown, peer: PeerId): ActivityJson => ({
  ...checked(answer, isActivity),
  peer_id: peer
})

/** As in `asDetail`. */
export const asConnections = (answer: unknown, peer: PeerId): ConnectionsJson => ({
  ...checked(answer, isConnections),
  peer_id: peer
})

function checked<T>(answer: unknown, is: (value: unknown) => value is T): T {
  if (is(answer)) return answer
  throw new UnavailableError(
    "the agent there answered something that this one does not understand; compare both agents' versions"
  )
}

type Fields = Record<string, unknown>
type Is<T> = (value: unknown) => value is T

const isObject = (value: unknown): value is Fields =>
  value != null && typeof value === 'object' && !Array.isArray(value)
const isText = (value: unknown): value is string => typeof value === 'string'
const isTextOrNull = (value: unknown): value is string | null => value === null || isText(value)
const isListOf =
  <T>(is: Is<T>) =>
  (value: unknown): value is T[] =>
    Array.isArray(value) && value.every(is)

const STATUSES: ReadonlySet<unknown> = new Set<ActorJson['status']>(['active', 'done', 'error', 'stopped'])

const isTree = (value: unknown): value is ActorJson =>
  isObject(value) &&
  isText(value['path']) &&
  isTextOrNull(value['state']) &&
  STATUSES.has(value['status']) &&
  isListOf(isTree)(value['children'])

const isChange = (value: unknown): value is Fields =>
  isObject(value) &&
  isText(value['path']) &&
  isTextOrNull(value['from']) &&
  isTextOrNull(value['to']) &&
  STATUSES.has(value['status'])

export const isUpdate = (value: unknown): value is ActorUpdateJson =>
  isChange(value) &&
  isText(value['at']) &&
  isTextOrNull(value['event']) &&
  isTextOrNull(value['reason']) &&
  isTextOrNull(value['by'])

const isStep = (value: unknown): value is TransitionJson => isUpdate(value) && value.event != null

const isSent = (value: unknown): value is ActorSentJson =>
  isChange(value) && isText(value['event']) && isListOf(isStep)(value['caused'])

const isTaken = (value: unknown): value is ActorDetailJson['takes'][number] =>
  isObject(value) &&
  isText(value['type']) &&
  typeof value['now'] === 'boolean' &&
  isObject(value['fields']) &&
  Object.values(value['fields']).every((kind) => kind === 'string' || kind === 'number' || kind === 'boolean')

const isChart = (value: unknown): value is NonNullable<ActorDetailJson['chart']> =>
  isObject(value) && isListOf(isChartState)(value['states']) && isListOf(isChartMove)(value['moves'])

const isChartState = (value: unknown): value is Fields =>
  isObject(value) &&
  isText(value['path']) &&
  ['initial', 'final', 'parallel', 'current'].every((flag) => typeof value[flag] === 'boolean')

const isChartMove = (value: unknown): value is Fields =>
  isObject(value) && isText(value['from']) && isText(value['event']) && isTextOrNull(value['to'])

const isDetail = (value: unknown): value is ActorDetailJson => {
  if (!isTree(value)) return false
  const { context, takes, chart, history } = value as ActorJson & Fields
  return (
    isObject(context) && isListOf(isTaken)(takes) && (chart === null || isChart(chart)) && isListOf(isStep)(history)
  )
}

const isNumber = (value: unknown): value is number => typeof value === 'number'
const isRole = (value: unknown): boolean => value === 'source' || value === 'target'
const PHASES: ReadonlySet<unknown> = new Set<ServiceActivityJson['phase']>([
  'pending',
  'active',
  'degraded',
  'deleting'
])

/** What a service, a tunnel and a flow have in common. */
const isCounted = (value: unknown): value is Fields =>
  isObject(value) && isNumber(value['bytes_in']) && isNumber(value['bytes_out'])

const isServiceActivity = (value: unknown): value is ServiceActivityJson =>
  isCounted(value) &&
  isText(value['id']) &&
  isTextOrNull(value['name']) &&
  isRole(value['role']) &&
  isTextOrNull(value['peer_id']) &&
  isTextOrNull(value['peer_name']) &&
  PHASES.has(value['phase']) &&
  isNumber(value['flows'])

const isTunnelActivity = (value: unknown): value is TunnelActivityJson =>
  isCounted(value) &&
  isText(value['peer_id']) &&
  isTextOrNull(value['peer_name']) &&
  isText(value['device']) &&
  isTextOrNull(value['endpoint']) &&
  isTextOrNull(value['handshake_at'])

const isFlowActivity = (value: unknown): value is FlowActivityJson =>
  isCounted(value) &&
  ['at', 'service_id', 'client', 'destination', 'reason'].every((field) => isText(value[field])) &&
  isTextOrNull(value['service_name']) &&
  isRole(value['side']) &&
  isNumber(value['duration_ms'])

const isKind = (value: unknown): value is ActivityJson['actors']['kinds'][number] =>
  isObject(value) && isText(value['kind']) && isTextOrNull(value['state']) && isNumber(value['count'])

const isActivity = (value: unknown): value is ActivityJson =>
  isObject(value) &&
  isText(value['at']) &&
  isTextOrNull(value['peer_name']) &&
  isNumber(value['uptime_seconds']) &&
  isListOf(isServiceActivity)(value['services']) &&
  isNumber(value['services_left_out']) &&
  isListOf(isTunnelActivity)(value['tunnels']) &&
  isListOf(isFlowActivity)(value['flows']) &&
  isObject(value['actors']) &&
  isNumber(value['actors']['total']) &&
  isListOf(isKind)(value['actors']['kinds']) &&
  isListOf(isStep)(value['actors']['latest'])

const isPreview = (value: unknown): value is RulePreview =>
  isObject(value) && isListOf(isText)(value['added']) && isListOf(isText)(value['removed']) && isNumber(value['more'])

const isConnection = (value: unknown): value is ConnectionsJson['connections'][number] =>
  isObject(value) && isText(value['source']) && isText(value['dest'])

const isConnections = (value: unknown): value is ConnectionsJson =>
  isObject(value) &&
  isText(value['at']) &&
  isTextOrNull(value['peer_name']) &&
  isListOf(isConnection)(value['connections']) &&
  typeof value['more'] === 'boolean'
