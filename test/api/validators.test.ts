import assert from 'node:assert/strict'
import { AjvCompiler } from '@fastify/ajv-compiler'
import * as fc from 'fast-check'
import { plainJudge, Validators } from '../../src/api/http/validators.ts'

const field = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom({ type: 'string' }, { type: 'string', minLength: 1, description: 'an id' }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      { type: 'string', minLength: 2 },
      { type: 'string', pattern: '^a' },
      { type: 'string', enum: ['a'] },
      { type: ['string', 'null'] },
      { type: 'integer' },
      {}
    )
  }
)
const names = ['id', 'at', 'wait']
const schemas = fc
  .record({
    properties: fc.dictionary(fc.constantFrom(...names), field, { minKeys: 1, maxKeys: 3 }),
    required: fc.option(fc.uniqueArray(fc.constantFrom(...names), { maxLength: 2 }), { nil: undefined, freq: 2 }),
    more: fc.oneof(
      { weight: 8, arbitrary: fc.constant({}) },
      {
        weight: 1,
        arbitrary: fc.constantFrom({ type: 'string' }, { additionalProperties: true }, { minProperties: 2 })
      }
    )
  })
  .map(({ properties, required, more }) => ({
    type: 'object',
    additionalProperties: false,
    properties,
    ...(required == null ? {} : { required }),
    ...more
  }))
const values = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.dictionary(
      fc.oneof({ weight: 8, arbitrary: fc.constantFrom(...names) }, fc.constantFrom('__proto__', 'constructor')),
      fc.oneof({ weight: 8, arbitrary: fc.constantFrom('', 'a', 'ab', '\u{1F600}') }, fc.constantFrom(3, null)),
      { maxKeys: 4 }
    )
  },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(null, undefined, 'a', [], ['a'], 3) }
)

describe('what judges a request', () => {
  it('calls plainly good only what the compiler takes', () => {
    const build = AjvCompiler()
    let plain = 0
    fc.assert(
      fc.property(schemas, values, (schema, data) => {
        if (!plainJudge(schema)(data)) return
        plain++
        const judge = build(
          {},
          { customOptions: { coerceTypes: false, strict: false, useDefaults: false } }
        )({ schema })
        assert.equal(judge(data), true)
      }),
      { numRuns: 1_000 }
    )
    assert.ok(plain > 100, `only ${plain} of the samples were plainly good, which says little`)
  })

  it('answers for the id in a path without the compiler, and loads it for all else', async () => {
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['id'],
      properties: { id: { type: 'string' } }
    }
    const validators = new Validators()
    const judge = validators.build({})({ schema } as never)
    const judged = (params: unknown): Parameters<Validators['loadFor']>[0] => ({
      routeOptions: { schema: { params: schema } },
      params,
      query: {},
      body: undefined
    })
    await validators.loadFor(judged({ id: '01J' }))
    assert.equal(judge({ id: '01J' }), true)
    assert.throws(() => judge({ id: '01J', more: '' }), /before the compiler was loaded/)

    await validators.loadFor(judged({ id: '01J', more: '' }))
    assert.equal(judge({ id: '01J', more: '' }), false)
    assert.equal(judge.errors?.[0]?.keyword, 'additionalProperties')
  })
})
