import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { Libp2pNetwork, type Libp2pNetworkOptions } from '../../../src/mesh/libp2p-network.ts'
import type { Trace } from '../../trace.ts'
import type { HostNetwork } from '../host-network.ts'
import type { Station, Wire } from '../wire.ts'
import { sharedNoise } from './shared-noise.ts'
import { Libp2pStation, wireTransport } from './transport.ts'

const crypto = sharedNoise()

type Options = Omit<Libp2pNetworkOptions, 'privateKey' | 'listen' | 'advertise' | 'transport' | 'crypto'>

/** The product's network as it is, noise, yamux and gossipsub included; only TCP is the simulated wire. */
export async function libp2pNetwork(
  place: { wire: Wire; station: Station; trace: Trace; seed: Uint8Array },
  options: Options
): Promise<HostNetwork> {
  const { station, seed } = place
  const at = new Libp2pStation()
  const network = await Libp2pNetwork.create({
    ...options,
    privateKey: signingOnce(await generateKeyPairFromSeed('Ed25519', seed)),
    listen: [`/ip4/${station.ip}/tcp/7946`],
    advertise: [],
    transport: wireTransport(place, at),
    crypto
  })
  const [start, stop] = [network.start.bind(network), network.stop.bind(network)]
  return Object.assign(network, {
    start: async () => {
      station.listener = at
      await start()
    },
    stop: async () => {
      await stop()
      if (station.listener === at) station.listener = null
    },
    leftovers: () => ({ connections: at.connections.size }),
    load: () => ({ channels: 0, connections: at.connections.size, remembered: 0 })
  })
}

/** It signs noise's key in each handshake anew, and always alike. */
function signingOnce(key: PrivateKey): PrivateKey {
  let signed: { data: Buffer; signature: ReturnType<PrivateKey['sign']> } | null = null
  const sign = key.sign.bind(key)
  key.sign = (data, options) => {
    const bytes = Buffer.from(data.subarray())
    if (signed?.data.equals(bytes) !== true) signed = { data: bytes, signature: sign(data, options) }
    return signed.signature
  }
  return key
}
