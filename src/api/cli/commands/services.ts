import type { PastServiceJson, PeerJson, ServiceJson } from '../../../actors/operator/operator.ts'
import type { FlowJson } from '../../../actors/operator/flows.ts'
import type { AskOptions } from '../client.ts'
import type { Command, Context, Flag, Input } from '../command.ts'
import { noneIfForbidden, usageFailure } from '../failure.ts'
import { atFlag, momentOf } from '../moment.ts'
import { change, judge, waitFlag, withWait } from '../wait.ts'
import { listFlags, printList } from '../watch.ts'

/** What both create and update take. */
const mutableFlags: readonly Flag[] = [
  { name: 'name', kind: 'text', placeholder: 'NAME', field: 'name', help: 'human name' },
  { name: 'transport', kind: ['tcp', 'kcp'], field: 'transport_type', help: 'how TCP is carried between the peers' },
  {
    name: 'requires-interface',
    kind: 'boolean',
    negatable: true,
    field: 'requires_interface',
    help: 'a MACVLAN device of its own on the source peer'
  },
  {
    name: 'desired-ipv4',
    kind: 'text',
    placeholder: 'CIDR',
    negatable: true,
    field: 'desired_ipv4_cidr',
    help: 'IPv4 address and prefix of that device'
  },
  {
    name: 'desired-ipv6',
    kind: 'text',
    placeholder: 'CIDR',
    negatable: true,
    field: 'desired_ipv6_cidr',
    help: 'IPv6 address and prefix of that device'
  },
  {
    name: 'bandwidth-limit',
    kind: 'number',
    placeholder: 'MBPS',
    field: 'bandwidth_limit_mbps',
    help: 'Mbit/s of TCP payload per direction; 0 is unlimited'
  },
  {
    name: 'fully-transparent',
    kind: 'boolean',
    negatable: true,
    field: 'fully_transparent',
    help: "keep the client's source address (TCP, needs --requires-interface)"
  }
]

const targetPeer: Flag = {
  name: 'target-peer',
  kind: 'text',
  placeholder: 'PEER',
  live: 'peer',
  field: 'target_peer_id',
  help: 'where the traffic comes out'
}
const sourcePeer: Flag = {
  name: 'source-peer',
  kind: 'text',
  placeholder: 'PEER',
  live: 'peer',
  field: 'source_peer_id',
  help: 'where the traffic goes in'
}
const ifMatch: Flag = {
  name: 'if-match',
  kind: 'text',
  placeholder: 'ETAG',
  help: 'only if it is still as it was read; "services get" shows its etag'
}
const ID = { name: 'ID', help: 'id of a service, see "arctic services list"', live: 'service' } as const

const PEERS_STAY = 'the peers of a service cannot be changed; delete it and create one between the other peers'

export const serviceCommands: readonly Command[] = [
  {
    words: ['services', 'create'],
    kind: 'service',
    summary: 'Create a service and print it; it carries nothing until it has a route',
    flags: [
      { ...targetPeer, required: true },
      { ...sourcePeer, help: `${sourcePeer.help} (the answering peer)` },
      ...mutableFlags,
      waitFlag
    ],
    examples: ['arctic services create --source-peer edge-a --target-peer edge-b --name offices'],
    async run(context, { fields, flags }) {
      const { body, wait } = await change<ServiceJson>(context.api, 'POST', '/v1/services', { body: fields, flags })
      await printService(context, body)
      judge(context, wait)
    }
  },
  {
    words: ['services', 'list'],
    kind: 'service',
    summary: 'List services',
    flags: [
      { ...targetPeer, help: 'only those to this peer' },
      { ...sourcePeer, help: 'only those from this peer' },
      atFlag,
      ...listFlags
    ],
    async run(context, { flags, fields }) {
      const { api, print, clock } = context
      const moment = momentOf(flags, clock.now(), 'services list')
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'service.*,peer.*',
        read: () => api.list<ServiceJson | PastServiceJson>('/v1/services', { query: { ...fields, ...moment } }),
        text: async (services) => {
          const query = { all: true, ...moment }
          const peers = await api.get<PeerJson[]>('/v1/peers', { query }).catch(noneIfForbidden)
          return (await import('../views/service.ts')).servicesText(services, peers, clock.now(), print)
        }
      })
    }
  },
  {
    words: ['services', 'get'],
    kind: 'service',
    summary: 'Show one service and what is in force of it',
    args: [ID],
    flags: [
      atFlag,
      { name: 'flows', kind: 'boolean', help: 'its open TCP flows too, as the answering peer sees them' },
      { name: 'sort', kind: ['bytes', 'age'], help: 'of the flows: most bytes first (default), or oldest' },
      { name: 'limit', short: 'n', kind: 'number', placeholder: 'N', help: 'at most so many flows (100)' }
    ],
    examples: ['arctic services get ID --at 1d', 'arctic services get ID --flows --sort age -n 20'],
    async run(context, { args, flags }) {
      const { api, print, clock } = context
      const moment = momentOf(flags, clock.now(), 'services get')
      const { body, headers } = await api.exchange('GET', servicePath(args), { query: moment })
      if (flags['flows'] !== true) {
        if (flags['sort'] != null || flags['limit'] != null)
          throw usageFailure('--sort and --limit are about flows; add --flows', 'services get')
        return printService(context, body as ServiceJson | PastServiceJson, headers.etag)
      }
      if (flags['at'] != null) throw usageFailure('flows are told as they are now only; leave out --at', 'services get')
      const service = body as ServiceJson
      const query = { sort: flags['sort'] as string | undefined, limit: flags['limit'] as number | undefined }
      const flows = await api.get<FlowJson[]>(`${servicePath(args)}/flows`, { query })
      await print.data({ ...service, open_flows: flows }, async () => {
        const text = await serviceText(context, service, headers.etag)
        return `${text}\n${(await import('../views/flow.ts')).flowsText(flows, service.status.flows, print)}`
      })
    }
  },
  {
    words: ['services', 'update'],
    kind: 'service',
    summary: 'Change what is given, leave the rest; its peers cannot be changed',
    args: [ID],
    flags: [...mutableFlags, ifMatch, waitFlag],
    refuses: { 'source-peer': PEERS_STAY, 'target-peer': PEERS_STAY },
    examples: [
      'arctic services update ID --bandwidth-limit 500',
      'arctic services update ID --requires-interface=false'
    ],
    async run(context, { args, flags, fields }) {
      if (Object.keys(fields).length === 0) throw usageFailure('nothing to change is given', 'services update')
      const options = { ...condition(flags), body: fields, flags }
      const { body, wait } = await change<ServiceJson>(context.api, 'PUT', servicePath(args), options)
      await printService(context, body)
      judge(context, wait)
    }
  },
  {
    words: ['services', 'delete'],
    kind: 'service',
    summary: 'Delete a service with its routes, rules, device and flows',
    args: [ID],
    flags: [{ name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }, ifMatch, waitFlag],
    async run(context, { args, flags }) {
      const { api, print, confirm } = context
      if (flags['yes'] !== true && !(await confirm(`Delete service ${args['ID']} and its routes?`))) return
      const { wait } = await change(api, 'DELETE', servicePath(args), { ...condition(flags), flags })
      const deleted = withWait({ id: args['ID'], deleted: true }, wait)
      await print.data(deleted, () => `service ${args['ID']} deleted\n`)
      judge(context, wait)
    }
  }
]

/** Shells eat the quotes of an ETag; they are put back. */
const condition = ({ 'if-match': etag }: Input['flags']): AskOptions =>
  etag == null ? {} : { headers: { 'if-match': /^(\*$|W?\/?")/.test(String(etag)) ? String(etag) : `"${etag}"` } }

const servicePath = ({ ID: id = '' }: Readonly<Record<string, string>>): string =>
  `/v1/services/${encodeURIComponent(id)}`

async function printService(context: Context, service: ServiceJson | PastServiceJson, etag?: string): Promise<void> {
  await context.print.data(service, () => serviceText(context, service, etag))
}

const serviceText = async (
  { print, clock }: Context,
  service: ServiceJson | PastServiceJson,
  etag?: string
): Promise<string> => (await import('../views/service.ts')).serviceText(service, clock.now(), print.colours, etag)
