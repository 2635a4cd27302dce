import { isoTime } from '../clock.ts'
import type { Membership } from './membership.ts'
import type { PeerId, PeerRecord } from './schema.ts'
import { SortedMap } from './sorted-map.ts'
import type { DepartedMember, Member } from './view.ts'

type PeerRecords = ReadonlyMap<PeerId, PeerRecord>

/** The members and those who were, as the view shows them. What did not change stays the same object. */
export class MembersView {
  members: SortedMap<Member> = SortedMap.empty
  departed: SortedMap<DepartedMember> = SortedMap.empty

  /** Looks at these peers anew. */
  update(peers: Iterable<PeerId>, membership: Membership, records: PeerRecords): void {
    for (const peer of peers) {
      this.#setMember(peer, membership, records)
      this.#setDeparted(peer, membership, records)
    }
  }

  updateAll(membership: Membership, records: PeerRecords): void {
    this.update(
      new Set([
        ...this.members.keys(),
        ...this.departed.keys(),
        ...membership.members.keys(),
        ...membership.departed.keys()
      ]),
      membership,
      records
    )
  }

  #setMember(id: PeerId, membership: Membership, records: PeerRecords): void {
    const admission = membership.members.get(id)
    if (admission == null) {
      this.members = this.members.without(id)
      return
    }
    const { role, admittedBy, name } = admission
    const admittedAt = isoTime(admission.admittedAt)
    const record = records.get(id) ?? null
    const before = this.members.get(id)
    const member: Member = { id, name: record?.name ?? name ?? id, role, admittedBy, admittedAt, record }
    if (before == null || !isSame(before, member)) this.members = this.members.with(id, member)
  }

  #setDeparted(id: PeerId, membership: Membership, records: PeerRecords): void {
    const departure = membership.departed.get(id)
    if (departure == null) {
      this.departed = this.departed.without(id)
      return
    }
    const { how, by } = departure
    const [name, at] = [records.get(id)?.name ?? departure.name ?? id, isoTime(departure.at)]
    const before = this.departed.get(id)
    if (before?.name === name && before.how === how && before.by === by && before.at === at) return
    this.departed = this.departed.with(id, { id, name, how, by, at })
  }
}

const isSame = (a: Member, b: Member): boolean =>
  a.record === b.record &&
  a.name === b.name &&
  a.role === b.role &&
  a.admittedAt === b.admittedAt &&
  a.admittedBy === b.admittedBy
