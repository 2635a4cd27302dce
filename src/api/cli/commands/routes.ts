import type { PastRouteJson, RouteJson, RouteTestJson, ServiceJson } from '../../../actors/operator/operator.ts'
import type { Command, Context, Flag, Input } from '../command.ts'
import { noneIfForbidden, usageFailure } from '../failure.ts'
import { atFlag, momentOf } from '../moment.ts'
import { change, judge, waitFlag, withWait } from '../wait.ts'
import { listFlags, printList } from '../watch.ts'

const service: Flag = {
  name: 'service',
  kind: 'text',
  placeholder: 'ID',
  required: true,
  live: 'service',
  help: 'id of a service, see "arctic services list"'
}
const route: Flag = {
  name: 'route',
  kind: 'text',
  placeholder: 'ID',
  required: true,
  live: 'route',
  help: 'id of a route, see "arctic routes list"'
}
const rule: readonly Flag[] = [
  {
    name: 'source-cidr',
    kind: 'text',
    placeholder: 'CIDR',
    negatable: true,
    field: 'source_cidr',
    help: 'what the client has'
  },
  { name: 'dest-cidr', kind: 'text', placeholder: 'CIDR', negatable: true, field: 'dest_cidr', help: 'what it wants' },
  {
    name: 'priority',
    kind: 'integer',
    placeholder: 'N',
    field: 'priority',
    help: 'higher wins among equally specific routes (100)'
  }
]

export const routeCommands: readonly Command[] = [
  {
    words: ['routes', 'add'],
    kind: 'route',
    summary: 'Add a route to a service and print it',
    flags: [service, ...rule, waitFlag],
    examples: ['arctic routes add --service ID --dest-cidr 10.2.0.0/24'],
    async run(context, { flags, fields }) {
      const path = `/v1/services/${encodeURIComponent(String(flags['service']))}/routes`
      const { body, wait } = await change<RouteJson[]>(context.api, 'POST', path, { body: { routes: [fields] }, flags })
      const [added] = body
      await printRoute(context, added && withWait(added, wait))
      judge(context, wait)
    }
  },
  {
    words: ['routes', 'list'],
    kind: 'route',
    summary: 'List routes',
    flags: [
      { ...service, required: false, field: 'service_id', help: 'only those of this service' },
      atFlag,
      ...listFlags
    ],
    async run(context, { flags, fields }) {
      const { api, print, clock } = context
      const moment = momentOf(flags, clock.now(), 'routes list')
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'route.*,service.*',
        read: () => api.list<RouteJson | PastRouteJson>('/v1/routes', { query: { ...fields, ...moment } }),
        text: async (routes) =>
          (await import('../views/route.ts')).routesText(routes, print, await serviceNames(context, moment))
      })
    }
  },
  {
    words: ['routes', 'update'],
    kind: 'route',
    summary: 'Change what is given of a route, leave the rest',
    flags: [service, route, ...rule, waitFlag],
    examples: ['arctic routes update --service ID --route ID --priority 200 --no-source-cidr'],
    async run(context, input) {
      if (Object.keys(input.fields).length === 0) throw usageFailure('nothing to change is given', 'routes update')
      const options = { body: input.fields, flags: input.flags }
      const { body, wait } = await change<RouteJson>(context.api, 'PUT', routePath(input), options)
      await printRoute(context, body)
      judge(context, wait)
    }
  },
  {
    words: ['routes', 'delete'],
    kind: 'route',
    summary: 'Delete a route',
    flags: [service, route, { name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }, waitFlag],
    async run(context, input) {
      const { api, print, confirm } = context
      const { service: serviceId, route: routeId, yes } = input.flags
      if (yes !== true && !(await confirm(`Delete route ${routeId} of service ${serviceId}?`))) return
      const { wait } = await change(api, 'DELETE', routePath(input), { flags: input.flags })
      const deleted = withWait({ id: routeId, service_id: serviceId, deleted: true }, wait)
      await print.data(deleted, () => `route ${routeId} deleted\n`)
      judge(context, wait)
    }
  },
  {
    words: ['routes', 'test'],
    summary: 'Which service, route, handler and peer would carry a packet entering this host',
    flags: [
      {
        name: 'source',
        kind: 'text',
        placeholder: 'IP',
        required: true,
        field: 'source',
        help: "the client's address"
      },
      { name: 'dest', kind: 'text', placeholder: 'IP', required: true, field: 'dest', help: 'where it wants to go' },
      {
        name: 'protocol',
        kind: 'text',
        placeholder: 'tcp|udp|icmp|N',
        field: 'protocol',
        help: 'name or IP protocol number (tcp)'
      },
      { name: 'interface', kind: 'text', placeholder: 'IF', field: 'interface', help: 'device by which it enters' },
      { name: 'trace', kind: 'boolean', field: 'trace', help: 'show every candidate and why it lost' },
      atFlag
    ],
    examples: ['arctic routes test --source 10.1.0.2 --dest 10.2.0.2 --trace'],
    async run({ api, print, clock }, { fields, flags }) {
      const query = { ...fields, ...momentOf(flags, clock.now(), 'routes test') }
      const answer = await api.get<RouteTestJson>('/v1/routes/test', { query })
      await print.data(answer, async () => (await import('../views/route.ts')).routeTestText(answer, print.colours))
    }
  }
]

/** For wide tables only, which show the service's name beside its id. */
async function serviceNames({ api, print }: Context, query: { at?: string }): Promise<ReadonlyMap<string, string>> {
  const services = print.wide ? await api.list<ServiceJson>('/v1/services', { query }).catch(noneIfForbidden) : []
  return new Map(services.map(({ id, name }) => [id, name]))
}

const routePath = ({ flags }: Input): string =>
  `/v1/services/${encodeURIComponent(String(flags['service']))}/routes/${encodeURIComponent(String(flags['route']))}`

async function printRoute({ print }: Context, added: RouteJson | undefined): Promise<void> {
  await print.data(added ?? null, async () =>
    added == null ? '' : (await import('../views/route.ts')).routeText(added, print.colours)
  )
}
