import { NameTakenError } from '../errors.ts'
import type { PeerId } from './schema.ts'
import type { View } from './view.ts'

/** NameTakenError when another member has, or asked for, the name. */
export function checkNameIsFree(view: View, name: string, peer: PeerId): void {
  for (const member of view.members.values()) {
    if (member.name === name && member.id !== peer) throw new NameTakenError('peer', name)
  }
}
