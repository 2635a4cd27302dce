import type { Peer } from '../lab/peer.ts'
import type { TwoSites } from '../lab/topology.ts'
import { bulk, flood, iperfServers } from './load.ts'
import { inRounds, type Contender, type Figures, type Result } from './rounds.ts'
import { enginePid } from './tcp.ts'
import { tempestTunnel } from './tempest.ts'
import { addServerAddress, MESH, PLAIN, TEMPEST, wireguardAddress } from './topology.ts'
import { wireguards, wireguardTunnel } from './wireguard.ts'

interface Path {
  address: string
  /** false where TCP to this address would not go through the tunnel: in the mesh it is Pegasus'. */
  tcp: boolean
}

const IPERF = 5301

/** Client → edge-a → tunnel → edge-b → server: UDP as fast as it goes, and TCP inside of the tunnel. */
export async function measureIp(
  sites: TwoSites,
  peers: readonly Peer[],
  { rounds, seconds, progress }: { rounds: number; seconds: number; progress: (text: string) => void }
): Promise<Result[]> {
  const pids = await Promise.all(peers.map((peer) => enginePid(peer, 'tempest')))
  const contenders: Array<Contender<Path>> = [
    { name: 'arctic (Tempest, in the mesh)', pids, path: { address: MESH, tcp: false } }
  ]
  await addServerAddress(sites, TEMPEST)
  const alone = await tempestTunnel(sites, TEMPEST)
  contenders.push({ name: 'Tempest alone', pids: alone, path: { address: TEMPEST, tcp: true } })
  for (const [n, go] of (await wireguards(progress)).entries()) {
    const address = wireguardAddress(n)
    await addServerAddress(sites, address)
    const processes = await wireguardTunnel(sites, go, { device: `wg${n}`, port: 51_820 + n, address })
    contenders.push({ name: go.name, pids: processes, path: { address, tcp: true } })
  }
  contenders.push({ name: 'plain routing', pids: [], path: { address: PLAIN, tcp: true } })

  await iperfServers(
    sites.server,
    contenders.map(({ path }) => path.address),
    IPERF
  )
  return await inRounds(
    contenders,
    rounds,
    async ({ path, pids: own }): Promise<Figures> => {
      const target = { address: path.address, port: IPERF }
      const udp = await flood(sites.client, target, { seconds, pids: own })
      if (!path.tcp) return udp
      const { gbps, cpuPerGb } = await bulk(sites.client, target, { flows: 1, seconds, pids: own })
      return { ...udp, gbps, cpuPerGb }
    },
    progress
  )
}
