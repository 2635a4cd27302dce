import { hex } from '../../src/crdt/bytes.ts'
import { publicKeyOf } from '../../src/crdt/signer.ts'
import type { Checker } from './checker.ts'

/** Only who was let in by an operator is inside, and nothing of anybody else is held anywhere. */
export const authority: Checker = {
  name: 'authority',
  about: 'nobody is a member who was not let in, and no change of a stranger is held or seen',
  always(world) {
    for (const host of world.up()) {
      for (const id of host.agent!.replica.view().members.keys()) {
        if (!world.invited.has(id))
          world.violate('authority', `${host.name} takes ${id} for a member, whom nobody let in`)
      }
    }
  },
  atRest(world) {
    const keys = [...world.invited].map((id) => hex(publicKeyOf(id) ?? new Uint8Array()))
    for (const host of world.up()) {
      for (const actor of Object.keys(host.agent!.replica.vector())) {
        if (!keys.some((key) => actor.includes(key))) {
          world.violate('authority', `${host.name} holds changes of ${actor.slice(0, 16)}…, who was never let in`)
        }
      }
    }
  }
}
