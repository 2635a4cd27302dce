import type { ActorDetailJson, ActorSentJson, ActorUpdateJson } from '../../../actors/operator/actor-json.ts'
import type { ActorJson } from '../../../actors/operator/operator.ts'
import type { Command, Flag } from '../command.ts'
import { Failure, usageFailure } from '../failure.ts'

const peerFlag: Flag = {
  name: 'peer',
  kind: 'text',
  placeholder: 'P',
  field: 'peer',
  help: "of that member's agent instead"
}
const pathArgument = { name: 'PATH', help: 'address, KIND:NAME; services and peers may go by name' } as const

const at = (path: string): string => `/v1/actors/${encodeURIComponent(path)}`

export const actorCommands: readonly Command[] = [
  {
    words: ['actors', 'tree'],
    summary: "The tree of this agent's actors and their states",
    flags: [peerFlag],
    async run({ api, print }, { fields }) {
      const root = await api.get<ActorJson>('/v1/actors', { query: fields })
      await print.data(root, async () => (await import('../views/actor.ts')).actorTreeText(root, print.colours))
    }
  },
  {
    words: ['actors', 'inspect'],
    summary: 'One actor: state, context, what it takes, its last steps',
    args: [pathArgument],
    flags: [
      { name: 'diagram', kind: 'boolean', help: 'its machine with the present state, as text and as mermaid, instead' },
      peerFlag
    ],
    examples: [
      'arctic actors inspect service:web',
      'arctic actors inspect netmgr --diagram',
      'arctic actors inspect service:web --peer edge-b'
    ],
    async run({ api, print }, { args: { PATH = '' }, flags, fields }) {
      const actor = await api.get<ActorDetailJson>(at(PATH), { query: fields })
      const { actorText } = await import('../views/actor.ts')
      const { chartText, chartMermaid } = await import('../views/chart.ts')
      if (flags['diagram'] !== true) return print.data(actor, () => actorText(actor, print.colours))
      if (actor.chart == null) {
        throw new Failure(
          'invalid_request',
          `${actor.path} is plain logic without states; only machines have a diagram`
        )
      }
      const { path, state, chart } = actor
      const mermaid = chartMermaid(path, chart)
      await print.data({ path, state, chart, mermaid }, () => `${chartText(chart, print.colours)}\n${mermaid}`)
    }
  },
  {
    words: ['actors', 'send'],
    summary: 'Send an event to an actor, and see what it caused',
    args: [pathArgument, { name: 'EVENT', help: 'its type, or JSON with its fields: {"type":"…",…}' }],
    flags: [peerFlag],
    examples: [
      'arctic actors send netmgr netmgr.retry',
      'arctic actors send service:web \'{"type":"service.impaired","reason":"Drill","message":"a rehearsal"}\''
    ],
    async run({ api, print }, { args: { PATH = '', EVENT = '' }, fields }) {
      const sent = await api.post<ActorSentJson>(`${at(PATH)}/events`, readEvent(EVENT), { query: fields })
      await print.data(sent, async () => (await import('../views/actor.ts')).sentText(sent))
    }
  },
  {
    words: ['actors', 'watch'],
    summary: 'Each step of an actor, or of all, until Ctrl-C',
    endless: true,
    args: [{ ...pathArgument, optional: true }],
    flags: [peerFlag],
    async run({ api, print, signal }, { args: { PATH }, fields }) {
      const { updateText } = await import('../views/actor.ts')
      const updates = api.stream('/v1/actors/watch', { query: { ...fields, path: PATH }, signal })
      for await (const { type, data } of updates) {
        if (type === 'open') continue
        const update = data as ActorUpdateJson
        await print.line(update, () => updateText(update))
      }
      signal.throwIfAborted()
      throw new Failure('unavailable', 'the agent ended the watch; start the command again when it is back')
    }
  }
]

/** `netmgr.retry`, or the whole event as JSON. */
function readEvent(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return { type: text }
  try {
    return JSON.parse(text)
  } catch {
    throw usageFailure(`EVENT is not JSON: ${text}`, 'actors send')
  }
}
