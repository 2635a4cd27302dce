import { ERROR_CODES } from '../../errors.ts'
import { didYouMean } from '../did-you-mean.ts'
import { agentComponents, StatusSchema } from '../http/schemas/agent.ts'
import { clusterComponents, ClusterSchema } from '../http/schemas/cluster.ts'
import { AppliedSchema, declareComponents, MeshSchema } from '../http/schemas/declare.ts'
import {
  ChangeSchema,
  EpochSchema,
  historyComponents,
  UndoneSchema,
  VerificationSchema
} from '../http/schemas/history.ts'
import { doctorComponents, DoctorSchema } from '../http/schemas/doctor.ts'
import { LicenseSchema } from '../http/schemas/license.ts'
import { peerComponents, PeerSchema } from '../http/schemas/peer.ts'
import { routeComponents, RouteInputSchema, RouteSchema, RouteTestSchema } from '../http/schemas/route.ts'
import { serviceComponents, ServiceInputSchema, ServicePatchSchema, ServiceSchema } from '../http/schemas/service.ts'
import { waitComponents, WaitSchema } from '../http/schemas/wait.ts'
import { tokenComponents, TokenInputSchema, TokenSchema } from '../http/schemas/token.ts'
import { usageFailure } from './failure.ts'

/** JSON Schema, as much of it as the API's schemas use. */
interface Schema {
  $id?: string
  $ref?: string
  type?: string | string[]
  enum?: Array<string | null>
  minimum?: number
  maximum?: number
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
}

interface Explained {
  what: string
  schema: Schema
  create?: Schema
  update?: Schema
}

const OBJECTS: Record<string, Explained> = {
  service: {
    what: 'A one-way path from a source peer to a target peer; it carries nothing until it has a route.',
    schema: ServiceSchema as Schema,
    create: ServiceInputSchema as Schema,
    update: ServicePatchSchema as Schema
  },
  route: {
    what: 'A rule of one service: which packets it takes. With both CIDRs it is more specific than with one.',
    schema: RouteSchema as Schema,
    create: RouteInputSchema as Schema,
    update: RouteInputSchema as Schema
  },
  peer: { what: "One host's agent, by its id, a unique start of the id, or its name.", schema: PeerSchema as Schema },
  token: {
    what: 'What a program shows at the TCP address: what it may do, and until when. The cluster keeps a hash of it only.',
    schema: TokenSchema as Schema,
    create: TokenInputSchema as Schema
  },
  cluster: { what: 'The closed set of peers that share one replicated state.', schema: ClusterSchema as Schema },
  change: {
    what: 'One change of the cluster, as "arctic cluster history" answers it.',
    schema: ChangeSchema as Schema
  },
  license: { what: 'What this agent is licensed for, and what of it is in use.', schema: LicenseSchema as Schema },
  doctor: { what: 'What "arctic doctor" answers.', schema: DoctorSchema as Schema },
  status: { what: 'Health of the answering agent.', schema: StatusSchema as Schema },
  mesh: { what: 'A file for "arctic apply": services and routes, peers by name.', schema: MeshSchema as Schema },
  applied: { what: 'What "arctic apply" and "arctic diff" answer.', schema: AppliedSchema as Schema },
  'route-test': { what: 'What "arctic routes test" answers.', schema: RouteTestSchema as Schema },
  verification: {
    what: 'What "arctic cluster history --verify" answers.',
    schema: VerificationSchema as Schema
  },
  epoch: { what: 'What "arctic cluster epoch" answers.', schema: EpochSchema as Schema },
  undone: { what: 'What "arctic cluster undo" answers.', schema: UndoneSchema as Schema },
  wait: { what: 'What "--wait" answers of how that went.', schema: WaitSchema as Schema }
}

const COMPONENTS = new Map<string, Schema>(
  [
    ...serviceComponents,
    ...routeComponents,
    ...peerComponents,
    ...clusterComponents,
    ...historyComponents,
    ...agentComponents,
    ...declareComponents,
    ...waitComponents,
    ...tokenComponents,
    LicenseSchema,
    ...doctorComponents
  ].map((schema) => [(schema as Schema).$id ?? '', schema as Schema])
)

export const explainable = (): string[] => [...Object.keys(OBJECTS), 'errors']

export interface Field {
  field: string
  type: string
  /** Which requests take it; empty for what is only answered. */
  set: Array<'create' | 'update'>
  required: boolean
  description: string
}

export type Explanation =
  | { object: string; description: string; fields: Field[] }
  | { object: 'errors'; description: string; codes: Array<{ code: string; http: number; exit: number }> }

/** `service`, `service.status`, `services.status.conditions`, `errors`: from the very schemas that validate, no agent needed. */
export function explain(text: string): Explanation {
  const [first = '', ...path] = text.split('.')
  if (first === 'errors' && path.length === 0) {
    const codes = Object.entries(ERROR_CODES).map(([code, [http, exit]]) => ({ code, http, exit }))
    return { object: 'errors', description: 'Codes of failures, with their HTTP status and exit code.', codes }
  }
  const name = Object.hasOwn(OBJECTS, first) ? first : first.replace(/s$/, '')
  const object = Object.hasOwn(OBJECTS, name) ? OBJECTS[name] : undefined
  if (object == null) throw unknown(`object "${first}"`, first, explainable())
  let schema: Schema = object.schema
  let description = object.what
  for (const step of path) {
    const { properties = {} } = shape(schema)
    const next = Object.hasOwn(properties, step) ? properties[step] : undefined
    if (next == null) throw unknown(`field "${step}" in "${text}"`, step, Object.keys(properties))
    schema = next
    description = next.description ?? resolve(next).description ?? ''
  }
  const takes: Partial<Explained> = path.length === 0 ? object : {}
  const inner = shape(schema)
  if (inner.properties == null) {
    const field = path.at(-1) ?? name
    return { object: text, description, fields: [describe(field, schema, false, object, path.length === 1)] }
  }
  const required = new Set((takes.create ?? inner).required)
  const fields = Object.entries(inner.properties).map(([field, one]) =>
    describe(field, one, required.has(field), takes, true)
  )
  return { object: text, description, fields }
}

function unknown(what: string, word: string, known: string[]): Error {
  const near = didYouMean(word, known)
  return usageFailure(
    `unknown ${what}; ${near == null ? `known are ${known.join(', ')}` : `did you mean "${near}"?`}`,
    'explain'
  )
}

function describe(
  field: string,
  schema: Schema,
  required: boolean,
  { create, update }: Partial<Explained>,
  top: boolean
): Field {
  const inputs = top
    ? ([
        ['create', create],
        ['update', update]
      ] as const)
    : []
  const taking = inputs.flatMap(([verb, input]) => (input?.properties?.[field] == null ? [] : [verb]))
  const input = (create ?? update)?.properties?.[field]
  const known = top ? { ...input, ...schema } : schema
  const description = schema.description ?? (top ? input?.description : undefined) ?? ''
  return { field, type: typeOf({ ...known }), set: taking, required, description }
}

function typeOf(schema: Schema): string {
  if (schema.anyOf != null) return schema.anyOf.map(typeOf).join(' or ')
  const target = resolve(schema)
  if (schema.enum != null) return schema.enum.map((value) => value ?? 'null').join(' | ')
  const name = [target.type ?? 'any'].flat().join(' or ')
  if (name === 'array') return `list of ${target.items == null ? 'any' : typeOf(target.items)}`
  const { minimum, maximum } = schema
  const range = minimum == null && maximum == null ? '' : ` ${minimum ?? ''}…${maximum ?? ''}`
  return `${target.$id == null ? name : `${name} (${target.$id})`}${range}`
}

/** The object that a field holds, through references, lists and "or null". */
function shape(schema: Schema): Schema {
  const target = resolve(schema)
  if (target.items != null) return shape(target.items)
  const [object] = (target.anyOf ?? []).filter((one) => one.type !== 'null')
  return object == null ? target : shape(object)
}

const resolve = (schema: Schema): Schema =>
  schema.$ref == null ? schema : (COMPONENTS.get(schema.$ref.replace(/#$/, '')) ?? schema)
