import type {
  ActorDetailJson,
  ActorSentJson,
  ActorUpdateJson,
  DeathNotice
} from '../../../actors/operator/actor-json.ts'
import type { ActorJson } from '../../../actors/operator/operator.ts'
import { actorAt } from '../actor-path.ts'
import type { Command, Flag } from '../command.ts'
import { Failure, usageFailure } from '../failure.ts'

const peerFlag: Flag = {
  name: 'peer',
  kind: 'text',
  placeholder: 'P',
  field: 'peer',
  live: 'peer',
  help: "of that member's agent instead"
}
const pathArgument = {
  name: 'PATH',
  help: 'address, KIND:NAME or actor://PEER/KIND:NAME; services and peers may go by name'
} as const

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
      const actor = await api.get<ActorDetailJson>(actorAt(PATH), { query: fields })
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
    flags: [{ name: 'no-wait', kind: 'boolean', help: 'do not wait for what becomes of it' }, peerFlag],
    examples: [
      'arctic actors send netmgr netmgr.retry',
      'arctic actors send actor://edge-b/netmgr netmgr.retry',
      'arctic actors send service:web \'{"type":"service.impaired","reason":"Drill","message":"a rehearsal"}\''
    ],
    async run({ api, print }, { args: { PATH = '', EVENT = '' }, flags, fields }) {
      if (flags['no-wait'] === true) {
        await api.post(`${actorAt(PATH)}/events`, readEvent(EVENT), { query: { ...fields, wait: false } })
        return
      }
      const sent = await api.post<ActorSentJson>(`${actorAt(PATH)}/events`, readEvent(EVENT), { query: fields })
      await print.data(sent, async () => (await import('../views/actor.ts')).sentText(sent))
    }
  },
  {
    words: ['actors', 'watch'],
    summary: 'Each step of an actor, or of all, until Ctrl-C',
    endless: true,
    args: [{ ...pathArgument, optional: true }],
    flags: [
      { name: 'only', kind: ['end'], field: 'only', help: '"end": wait until that actor ends, say how, and end too' },
      peerFlag
    ],
    async run({ api, print, signal }, { args: { PATH }, flags, fields }) {
      if (flags['only'] != null && PATH == null) throw usageFailure('--only end needs a PATH', 'actors watch')
      const { updateText } = await import('../views/actor.ts')
      const updates = api.stream('/v1/actors/watch', { query: { ...fields, path: PATH }, signal })
      for await (const { type, data } of updates) {
        if (type === 'open') continue
        if (type === 'ended') {
          const notice = data as DeathNotice
          await print.data({ path: PATH, ...notice }, () => `${PATH}: ${noticeText(notice)}\n`)
          return
        }
        const update = data as ActorUpdateJson
        await print.line(update, () => updateText(update))
      }
      signal.throwIfAborted()
      throw new Failure('unavailable', 'the agent ended the watch; start the command again when it is back')
    }
  }
]

const noticeText = ({ status, reason }: DeathNotice): string => (reason == null ? status : `${status}, ${reason}`)

/** `netmgr.retry`, or the whole event as JSON. */
function readEvent(text: string): unknown {
  if (!text.trimStart().startsWith('{')) return { type: text }
  try {
    return JSON.parse(text)
  } catch {
    throw usageFailure(`EVENT is not JSON: ${text}`, 'actors send')
  }
}
