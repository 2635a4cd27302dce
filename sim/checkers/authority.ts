import { hex } from '../../src/crdt/bytes.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import type { PeerId } from '../../src/crdt/schema.ts'
import { publicKeyOf } from '../../src/crdt/signer.ts'
import type { View } from '../../src/crdt/view.ts'
import type { Checker } from './checker.ts'
import { verdictsOf, type Verdicts } from './verdicts.ts'

const keyCharacters = 64

/** Members that were looked through, of any host. */
const found = new WeakSet<View['members']>()

/**
 * Only who was let in by an operator is inside, and nothing of anybody else is held anywhere. Who was thrown out is out: it
 * is no member, nobody's data plane knows it, and of what it wrote beyond the cut nothing shows.
 */
export const authority: Checker = {
  name: 'authority',
  about: 'no stranger is a member, and nothing counts that was written without the right or after a revocation',
  always(world) {
    for (const host of world.up()) {
      const { members } = host.agent!.replica.view()
      // Who was invited once stays so, and views share what did not change.
      if (found.has(members)) continue
      const strangers = [...members.keys()].filter((id) => !world.invited.has(id))
      for (const id of strangers)
        world.violate('authority', `${host.name} takes ${id} for a member, whom nobody let in`)
      if (strangers.length === 0) found.add(members)
    }
  },
  atRest(world) {
    const keys = new Set([...world.invited].map((id) => hex(publicKeyOf(id) ?? new Uint8Array())))
    const [founder = ''] = world.invited
    for (const host of world.up()) {
      for (const actor of Object.keys(host.agent!.replica.vector())) {
        // An actor's name begins with its author's key.
        if (!keys.has(actor.slice(0, keyCharacters))) {
          world.violate('authority', `${host.name} holds changes of ${actor.slice(0, 16)}…, who was never let in`)
        }
      }
      const { members, services } = host.agent!.replica.view()
      const { out, in: insiders } = verdictsAt(host.agent!.replica, founder)
      for (const id of out)
        if (members.has(id))
          world.violate('authority', `${host.name} takes ${id} for a member, although its revocation counts`)
      for (const id of insiders)
        if (!members.has(id))
          world.violate('authority', `${host.name} has thrown out ${id}, which nobody with the right to revoked`)
      for (const id of world.outcasts.keys()) {
        if (world.goneAt(id) == null) continue
        if (members.has(id)) world.violate('authority', `${host.name} takes ${id} for a member, which was revoked`)
        if (host.kernel.desired.peers.some((peer) => peer.id === id))
          world.violate('authority', `${host.name} still carries traffic for ${id}, which was revoked`)
      }
      for (const [id, { created }] of world.services) {
        if (world.counts(created) === false && services.has(id))
          world.violate('authority', `${host.name} shows ${id}, which ${created.host.name} made after it was revoked`)
      }
      for (const id of world.forged) {
        if (services.has(id))
          world.violate('authority', `${host.name} shows ${id}, which somebody made without the right`)
      }
    }
  }
}

/** By the head of the auth log, which stands for all of it. */
const judged = new Map<string, Verdicts>()

function verdictsAt(replica: Replica, founder: PeerId): Verdicts {
  const { authHead = '' } = replica.view()
  let verdicts = judged.get(authHead)
  if (verdicts == null) {
    verdicts = verdictsOf(founder, replica.authLog())
    judged.clear()
    judged.set(authHead, verdicts)
  }
  return verdicts
}
