import type { Member } from '../../crdt/view.ts'
import { type Check, fail, ok, warn } from '../../dataplane/doctor/check.ts'
import { clockSkewBadMs, clockSkewMs, doctorPeersMax, handshakeAgeMs } from '../limits.ts'
import type { OperatorDeps } from './deps.ts'
import { licenseJson } from './license.ts'

export type CheckJson = Check

export interface DoctorJson {
  /** Nothing fails. */
  ok: boolean
  checks: CheckJson[]
}

/** What the operator cannot see by itself: the host that the agent runs on, and who answers at an address. */
export interface HostDoctor {
  host(): Promise<Check[]>
  /** Null, or why nobody takes TCP connections at `HOST:PORT`. */
  connects(address: string): Promise<string | null>
}

/** Everything that can be looked at from this agent: its host, itself, and its way to each member. */
export async function doctor(deps: OperatorDeps): Promise<DoctorJson> {
  const { reconciler, hostDoctor } = deps
  await reconciler.counters.fresh()
  const [host, peers] = await Promise.all([hostDoctor?.host() ?? [], peerChecks(deps)])
  const checks = [...host, ...ownChecks(deps), ...peers]
  return { ok: checks.every(({ status }) => status !== 'fail'), checks }
}

function ownChecks(deps: OperatorDeps): Check[] {
  const { replica, dataplane, reconciler } = deps
  const view = replica.view()
  const checks: Check[] = []
  checks.push(
    view.cluster == null
      ? warn('cluster', 'this peer is in none', 'run "arctic cluster init" or "arctic cluster join TOKEN"')
      : ok('cluster', `${view.cluster.name}, ${view.members.size} members`)
  )
  const damage = replica.damage()
  const state = 'replicated state'
  if (damage != null) checks.push(fail(state, damage.message, `look at the copy that was kept: ${damage.keptAs}`))
  else if (view.rejected.length > 0) {
    checks.push(
      warn(state, `${view.rejected.length} changes do not count`, 'see "arctic cluster status" for whose and why')
    )
  } else checks.push(ok(state, 'whole, and every change counts'))

  if (dataplane.mode === 'kernel') {
    for (const { engine, state: is, restarts } of dataplane.engines()) {
      checks.push(
        is === 'ready'
          ? ok(`engine ${engine}`, `ready, restarted ${restarts} times`)
          : fail(`engine ${engine}`, `it is ${is}`, "look for its module in the agent's log")
      )
    }
    const failure = reconciler.applied?.failure
    checks.push(
      failure == null
        ? ok('programming', 'kernel and engines have what they should')
        : fail('programming', failure.message, `see "arctic status"; the reason is ${failure.reason}`)
    )
  }
  const degraded = [...reconciler.statuses.all().values()].filter(({ phase }) => phase === 'degraded').length
  checks.push(
    degraded === 0
      ? ok('services', `none of ${view.services.size} is degraded`)
      : warn('services', `${degraded} of ${view.services.size} are degraded`, 'see "arctic services get ID" for why')
  )
  const { edition, problem } = licenseJson(deps)
  if (problem == null) checks.push(ok('licence', edition))
  else {
    const [found = '', ...mend] = problem.split('; ')
    checks.push(warn('licence', `${found}, so this is the community edition`, mend.join('; ')))
  }
  return checks
}

async function peerChecks(deps: OperatorDeps): Promise<Check[]> {
  const { replica, mesh } = deps
  const others = [...replica.view().members.values()].filter(({ id }) => id !== mesh.self)
  const looked = others.slice(0, doctorPeersMax)
  const checks = (await Promise.all(looked.map((member) => examinePeer(member, deps)))).flat()
  const rest = others.length - looked.length
  if (rest > 0) checks.push(warn('peers', `${rest} more were not looked at`, 'ask their own agents'))
  if (others.length > 0) checks.unshift(clocks(others, deps))
  checks.unshift(...sharedNames([...replica.view().members.values()]))
  return checks
}

/** Members that could not hear of each other may have taken one name; whoever is asked for it cannot know which is meant. */
function sharedNames(members: readonly Member[]): Check[] {
  const byName = Map.groupBy(members, ({ name }) => name)
  return [...byName].flatMap(([name, those]) =>
    those.length === 1
      ? []
      : [
          warn(
            `name ${name}`,
            `${those.length} peers have it: ${those.map(({ id }) => id).join(', ')}`,
            'give one of them another: arctic peers rename ID NAME'
          )
        ]
  )
}

async function examinePeer(member: Member, deps: OperatorDeps): Promise<Check[]> {
  const { mesh, dataplane, reconciler, hostDoctor, clock } = deps
  const { id, name, record } = member
  const presence = mesh.peer(id)
  const rtt = presence?.rttMs == null ? '' : `, ${presence.rttMs.toFixed(1)} ms away`
  const checks = [
    presence?.reachable === true
      ? ok(`mesh to ${name}`, `reachable${rtt}`)
      : fail(
          `mesh to ${name}`,
          `not reachable at ${record?.mesh_addresses.join(' ') ?? 'any known address'}`,
          'see that its agent runs, and that TCP to its mesh port passes in both directions'
        )
  ]
  if (dataplane.mode === 'none' || record == null || hostDoctor == null) return checks
  const services = [...deps.replica.view().services.values()]
  const isUsed = services.some(({ source_peer_id, target_peer_id }) => [source_peer_id, target_peer_id].includes(id))
  checks.push(await dataPort(name, record.data_addresses, { isUsed, connects: hostDoctor.connects }))
  for (const { handshakeAt } of reconciler.counters.tunnelsOf(id)) {
    const what = `tunnel to ${name}`
    const age = handshakeAt == null ? Infinity : clock.now() - handshakeAt
    const found = handshakeAt == null ? 'no handshake yet' : `the last handshake was ${Math.round(age / 1000)} s ago`
    checks.push(
      age <= handshakeAgeMs
        ? ok(what, found)
        : warn(what, found, 'see that UDP to its data port passes in both directions')
    )
  }
  return checks
}

/** One address that answers is enough; a peer that nothing is carried to need not answer. */
async function dataPort(
  name: string,
  addresses: readonly string[],
  { isUsed, connects }: { isUsed: boolean; connects: HostDoctor['connects'] }
): Promise<Check> {
  const what = `data port of ${name}`
  const refusals: string[] = []
  for (const address of addresses) {
    const why = await connects(address)
    if (why == null) return ok(what, `${address} answers on TCP`)
    refusals.push(`${address}: ${why}`)
  }
  const found = refusals.length === 0 ? 'it has published no address' : `no answer on TCP (${refusals.join(', ')})`
  return (isUsed ? fail : warn)(
    what,
    found,
    'see that its data plane runs, that TCP to it passes, and that --advertise there names what others can dial'
  )
}

function clocks(others: readonly Member[], { mesh }: OperatorDeps): Check {
  const what = 'clock'
  const measured = others.flatMap(({ id, name }) => {
    const behindMs = mesh.peer(id)?.clockBehindMs
    return behindMs == null ? [] : [{ name, behindMs }]
  })
  if (measured.length === 0) return ok(what, 'not measured: no other peer has been heard of')
  const worst = measured.reduce((a, b) => (Math.abs(b.behindMs) > Math.abs(a.behindMs) ? b : a))
  const seconds = Math.abs(worst.behindMs) / 1000
  const way = worst.behindMs > 0 ? 'behind' : 'ahead of'
  const found = `${worst.name} is ${seconds.toFixed(1)} s ${way} this host, which is the most among ${measured.length}`
  const mend = 'run NTP on both (timedatectl set-ntp true): invites and tokens end by the clock'
  if (seconds * 1000 >= clockSkewBadMs) return fail(what, found, mend)
  return seconds * 1000 >= clockSkewMs ? warn(what, found, mend) : ok(what, found)
}
