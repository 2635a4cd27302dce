import { desiredFor } from '../../src/actors/reconcile/desired.ts'
import type { Timer } from '../../src/clock.ts'
import type { Role } from '../../src/crdt/schema.ts'
import type { View } from '../../src/crdt/view.ts'
import { Background } from '../../src/mesh/background.ts'
import { ChangeGossip } from '../../src/mesh/gossip.ts'
import { Admission } from '../../src/mesh/join/admission.ts'
import { introduce } from '../../src/mesh/join/introduce.ts'
import { redeem } from '../../src/mesh/join/join.ts'
import { settleIn } from '../../src/mesh/join/settle-in.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { AntiEntropy } from '../../src/mesh/sync/anti-entropy.ts'
import type { Audience } from '../../src/mesh/network.ts'
import { Backfill } from '../../src/mesh/sync/backfill.ts'
import { lightApplyMs } from '../limits.ts'
import type { AgentParts, Asked, Started } from './agent.ts'
import { Neighbours } from './neighbours.ts'

/**
 * An agent of which the replicated state lives, and what the host does by it: replica, joining, gossip, anti-entropy and
 * the desired state are the product's own. It has no presence, no reports and no actors, and is connected to some members
 * instead of all, for those cost the square of the members: a thousand of it fit into a process.
 */
export async function startLight(parts: AgentParts): Promise<Started> {
  const agent = new LightAgent(parts)
  await agent.start()
  return { operator: agent.operator, whole: null, stop: () => agent.stop() }
}

class LightAgent {
  readonly #parts: AgentParts
  readonly #refusals = new Refusals()
  readonly #background: Background
  readonly #admission: Admission
  readonly #sync: AntiEntropy
  readonly #backfill: Backfill
  readonly #gossip: ChangeGossip
  readonly #neighbours: Neighbours
  readonly #releases: Array<() => void> = []
  #entered = false
  #joining = false
  #apply: Timer | null = null

  constructor(parts: AgentParts) {
    const { network, replica, clock, random, log } = parts
    const refusals = this.#refusals
    this.#parts = parts
    this.#background = new Background(() => {})
    this.#admission = new Admission({ network, replica, clock, log, refusals })
    this.#sync = new AntiEntropy({
      network,
      replica,
      clock,
      random,
      log,
      refusals,
      onNews: (envelopes) => this.#gossip.forward(envelopes),
      onMuchNews: () => {},
      agrees: () => false,
      onRefused: (peer) => this.#background.run((signal) => introduce(peer, { network, replica, clock, signal }))
    })
    this.#backfill = new Backfill({ network, replica, clock, random, log, refusals })
    const fetch = (peer: string): void => this.#sync.want(peer)
    // Nobody is connected to all, so whoever hears something hands it on.
    const view = (): View => replica.view()
    const members = (): number => view().members.size
    const audience = (): Audience => 'all'
    this.#gossip = new ChangeGossip({ network, replica, clock, log, refusals, audience, members, fetch })
    this.#neighbours = new Neighbours({ network, view, clock, random: random.fork('neighbours') })
  }

  async start(): Promise<void> {
    const { network, replica } = this.#parts
    this.#releases.push(
      network.onConnect(() => this.#backfill.wake()),
      replica.onView((now, before) => this.#viewChanged(now, before))
    )
    await this.#admission.start()
    await this.#sync.start()
    await network.start()
    this.#enter()
  }

  async stop(): Promise<void> {
    for (const release of this.#releases.splice(0)) release()
    this.#apply?.cancel()
    this.#admission.stop()
    await Promise.all([
      this.#neighbours.stop(),
      this.#gossip.stop(),
      this.#sync.stop(),
      this.#backfill.stop(),
      this.#background.stop()
    ])
    await this.#parts.network.stop()
  }

  /** Begins what belongs to a cluster, if there is one and it has not begun. */
  #enter(): void {
    const { replica, network, record, host } = this.#parts
    const cluster = replica.clusterId()
    if (cluster == null || this.#entered) return
    this.#entered = true
    network.membershipChanged()
    this.#gossip.start(cluster)
    this.#applySoon()
    if (!host.describes) return
    this.#neighbours.start()
    if (!this.#joining) this.#background.run(() => replica.putPeer(record()))
  }

  #viewChanged(view: View, before: View): void {
    const { network } = this.#parts
    this.#enter()
    if (view.members !== before.members) {
      network.membershipChanged()
      if (!view.members.has(network.self))
        for (const peer of network.connected()) this.#background.run(() => network.hangUp(peer))
    }
    const steers = view.members !== before.members || view.services !== before.services || view.routes !== before.routes
    if (steers) this.#applySoon()
  }

  #applySoon(): void {
    const { clock, dataplane, replica, network } = this.#parts
    this.#apply ??= clock.after(lightApplyMs, () => {
      this.#apply = null
      const view = replica.view()
      this.#background.run(() => dataplane.apply(desiredFor(network.self, view)))
      this.#describe(view)
    })
  }

  /** Another one with this identity may have written what it is. */
  #describe({ members }: View): void {
    const { replica, network, host, record } = this.#parts
    const said = members.get(network.self)?.record
    const isOther = said != null && said.mesh_addresses.join() !== record().mesh_addresses.join()
    if (isOther && host.describes) this.#background.run(() => replica.putPeer(record()))
  }

  async #join(token: string, signal: AbortSignal): Promise<void> {
    const { network, replica, clock, log, host, record } = this.#parts
    this.#joining = true
    try {
      const parts = { network, replica, clock, refusals: this.#refusals, log, signal }
      const { inviter, addresses } = await redeem(token, host.name, parts)
      this.#enter()
      const settle = async (limit: AbortSignal): Promise<void> => {
        await network.dial(inviter, addresses, { signal: limit })
        if (replica.behind() != null) await this.#sync.sync(inviter, { signal: limit })
        await replica.putPeer(record())
        await this.#sync.sync(inviter, { signal: limit })
      }
      const isMember = (): boolean => replica.isMember(network.self)
      await settleIn(inviter, settle, { clock, log, isMember, signal })
    } finally {
      this.#joining = false
    }
  }

  readonly operator: Asked = {
    clusterInit: ({ name }) =>
      this.#parts.replica.init({ name, record: this.#parts.record() }).then(() => this.#enter()),
    clusterInvite: async ({ ttl_seconds = 3_600, uses = 1, role = 'member' as Role }) => {
      const { replica, network } = this.#parts
      const addresses = network.addresses()
      return { token: replica.createInvite({ ttlMs: ttl_seconds * 1_000, uses, role, addresses }) }
    },
    clusterJoin: ({ token }, { signal }) => this.#join(token, signal),
    createService: ({ source_peer_id = this.#parts.network.self, ...input }) =>
      this.#parts.replica.createService({ ...input, source_peer_id }),
    updateService: (id, patch) => this.#parts.replica.updateService(id, patch),
    deleteService: (id) => this.#parts.replica.deleteService(id),
    addRoutes: (id, routes) => this.#parts.replica.addRoutes(id, routes),
    updateRoute: (service, id, patch) => this.#parts.replica.updateRoute(service, id, patch),
    deleteRoute: (service, id) => this.#parts.replica.deleteRoute(service, id)
  }
}
