import type { FastifySchemaValidationError } from 'fastify/types/schema.js'
import { InvalidRequestError } from '../../errors.ts'
import { didYouMean } from '../did-you-mean.ts'

/** Fields an operator sees in answers but cannot send: they get their own reason instead of "unknown". */
const READ_ONLY = new Set(['id', 'service_id', 'created_at', 'updated_at', 'status'])
const SET_AT_CREATION = new Set(['source_peer_id', 'target_peer_id'])

const PLACE: Record<string, string> = { body: 'body', querystring: 'query', params: 'path', headers: 'headers' }

/** Turns what the schema validator found (ajv, `verbose`) into one sentence that names the field. */
export function refusal(found: readonly FastifySchemaValidationError[], place: string): InvalidRequestError {
  const where = PLACE[place] ?? place
  const error = found[0]
  if (error == null) return new InvalidRequestError(`the ${where} is not valid; see GET /v1/openapi.json`)
  const path = fieldPath(error.instancePath)
  const details = (field: string): Record<string, unknown> => ({ field, in: where })
  const { params } = error

  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(params['additionalProperty'])
      const field = join(path, name)
      return new InvalidRequestError(unknownField(name, field, knownFields(error)), details(field))
    }
    case 'required': {
      const field = join(path, String(params['missingProperty']))
      return new InvalidRequestError(`the field "${field}" is missing; add it to the ${where}`, details(field))
    }
    default: {
      const field = path === '' ? where : path
      const subject = path === '' ? `the ${where}` : `"${path}"`
      return new InvalidRequestError(
        `${subject} ${expectation(error.keyword, params)}; see GET /v1/openapi.json`,
        details(field)
      )
    }
  }
}

function unknownField(name: string, field: string, known: string[]): string {
  if (SET_AT_CREATION.has(name)) {
    return `"${field}" cannot be changed; delete the service and create one between the other peers`
  }
  if (READ_ONLY.has(name)) return `"${field}" is read-only; leave it out`
  const hint = didYouMean(name, known)
  const list = known.length === 0 ? 'no field is known here' : `known are ${known.join(', ')}`
  return `unknown field "${field}"; ${hint == null ? list : `did you mean "${hint}"?`}`
}

function expectation(keyword: string, params: Record<string, unknown>): string {
  const limit = String(params['limit'])
  switch (keyword) {
    case 'type':
      return `must be ${[params['type']].flat().map(typeName).join(' or ')}`
    case 'enum':
      return `must be one of ${(params['allowedValues'] as unknown[]).map(String).join(', ')}`
    case 'minimum':
      return `must be ${limit} or more`
    case 'maximum':
      return `must be ${limit} or less`
    case 'minLength':
      return limit === '1' ? 'must not be empty' : `must have ${limit} characters or more`
    case 'maxLength':
      return `must have ${limit} characters or less`
    case 'minItems':
      return `must have ${limit} or more items`
    case 'minProperties':
      return `must have ${limit === '1' ? 'a field' : `${limit} or more fields`}`
    case 'maxItems':
      return `must have ${limit} or fewer items`
    default:
      return `breaks the rule "${keyword}"`
  }
}

function typeName(type: unknown): string {
  const names: Record<string, string> = {
    integer: 'a whole number',
    number: 'a number',
    string: 'a string',
    boolean: 'true or false',
    object: 'a JSON object',
    array: 'a list'
  }
  return names[String(type)] ?? String(type)
}

/** `/routes/0/priority` → `routes[0].priority`. */
function fieldPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : join(path, part)), '')
}

const join = (path: string, name: string): string => (path === '' ? name : `${path}.${name}`)

function knownFields(error: FastifySchemaValidationError): string[] {
  const schema = (error as { parentSchema?: { properties?: object } }).parentSchema
  return Object.keys(schema?.properties ?? {})
}
