import { networkInterfaces } from 'node:os'
import type { HostNetworks } from '../../dataplane/never-taken.ts'
import { parseAddress, parsePrefix } from '../../dataplane/prefix.ts'

/**
 * This host's addresses and attached networks as the operating system lists them: what `routes test` goes by where the
 * data plane itself does not look (mode `none`, or before its first apply).
 */
export function hostNetworks(): HostNetworks {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return {
    own: addresses.map(({ address }) => parseAddress(address)).filter((address) => address != null),
    attached: addresses
      .filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
      .map(({ cidr }) => (cidr == null ? null : parsePrefix(cidr)))
      .filter((network) => network != null)
  }
}
