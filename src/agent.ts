import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname } from 'node:path'
import { startActors, type Actors } from './actors/start.ts'
import { startHttp, type Http } from './api/http/server.ts'
import { isoTime, systemClock } from './clock.ts'
import type { AgentConfig } from './config.ts'
import type { PeerRecord } from './crdt/schema.ts'
import { Replica } from './crdt/replica.ts'
import { verifyAside } from './crdt/signer.ts'
import { saveAside } from './crdt/document-aside.ts'
import type { Dataplane } from './dataplane/desired.ts'
import { traces } from './dataplane/traces.ts'
import { checkHost } from './dataplane/checks.ts'
import { examineHost } from './dataplane/doctor/examine.ts'
import { connects } from './dataplane/doctor/reach.ts'
import { KernelDataplane } from './dataplane/kernel.ts'
import { NoDataplane } from './dataplane/none.ts'
import { UnavailableError } from './errors.ts'
import type { Logger } from './log.ts'
import type { LogTail } from './log-tail.ts'
import { LicenseFile, type LicenseSettings } from './license-file.ts'
import { makeDirectory } from './make-directory.ts'
import { openIdentity } from './mesh/identity.ts'
import { KeyRing } from './mesh/key-ring.ts'
import { Libp2pNetwork } from './mesh/libp2p-network.ts'
import { MeshRuntime, OPEN_PROTOCOLS } from './mesh/mesh-runtime.ts'
import { dataAddresses, ownHosts, withoutOwnDevices } from './own-addresses.ts'
import { systemRandom } from './random.ts'
import { version } from './version.ts'

/**
 * The composition root: it alone makes real implementations, hands each what it needs, and ends them in the opposite order.
 *
 * 1. state directory, identity, replica (which locks the directory: a second agent stops here)
 * 2. data plane: privileges and kernel features are checked before anybody hears of this peer
 * 3. mesh   4. actors   5. API, last, so that who can ask gets answers
 */
export class Agent {
  readonly #log: Logger
  readonly #tail: LogTail
  #config: AgentConfig
  /** What was started, with how to end it; ended from the last to the first. */
  readonly #running: Array<(options: { mode: 'remove' | 'keep' }) => Promise<void>> = []
  #http: Http | null = null
  #license: LicenseFile | null = null
  #actors: Actors | null = null
  #adopted = false
  #beganInCluster = false

  constructor(config: AgentConfig, log: Logger, tail: LogTail) {
    this.#config = config
    this.#log = log
    this.#tail = tail
  }

  /** Throws ArcticError for whatever the operator can mend; what was started until then is ended by {@link stop}. */
  async start({ onFatal }: { onFatal: (error: unknown) => void }): Promise<void> {
    const config = this.#config
    const log = this.#log
    const [clock, random] = [systemClock, systemRandom]
    await usableDirectory(config.stateDir, 'state directory', '--state-dir', 0o700)
    await usableDirectory(dirname(config.socket), 'directory of the socket', '--socket', 0o755)

    // Its processes run while this one reads its state.
    const checked = config.dataplane === 'kernel' ? checkHost() : Promise.resolve()
    // Whatever fails meanwhile, it has taken away its traces before this process ends.
    this.#running.push(() => checked.catch(() => {}))
    const identity = await openIdentity(config.stateDir, random)
    const ring = await KeyRing.open(config.stateDir, { clock, random })
    const { signer } = identity
    const replica = await Replica.open({
      dir: config.stateDir,
      signer,
      clock,
      random,
      log,
      verifier: verifyAside,
      saver: saveAside,
      fail: onFatal
    })
    this.#running.push(() => replica.close())
    this.#beganInCluster = replica.clusterId() != null

    const dataplane = this.#dataplane(ring, checked)
    dataplane.onEvent((event) => {
      if (event.type === 'engine.started' && event.adopted) this.#adopted = true
    })
    this.#running.push(({ mode }) => dataplane.stop({ mode, drainMs: this.#config.drainMs }))
    // Nothing of the network is opened before the data plane has found what it needs.
    const starting = dataplane.start()
    const creating = Libp2pNetwork.create({
      privateKey: identity.privateKey,
      listen: config.meshListen,
      advertise: config.advertise,
      told: (addresses) => withoutOwnDevices(addresses),
      membership: { isMember: (peer) => replica.isMember(peer), inCluster: () => replica.clusterId() != null },
      openProtocols: OPEN_PROTOCOLS,
      version,
      clock,
      log
    })
    const [network] = await Promise.all([creating, starting])
    const record = (): PeerRecord => ({
      id: identity.peerId,
      name: config.name,
      mesh_addresses: network.addresses(),
      data_addresses: dataAddresses(config.dataListen, config.advertise),
      pegasus_key: ring.current.pegasus.publicKey,
      tempest_key: ring.current.tempest.publicKey,
      keys_made_at: isoTime(ring.madeAt),
      keys_before: ring.before == null ? null : [ring.before.pegasus.publicKey, ring.before.tempest.publicKey],
      version
    })
    const mesh = new MeshRuntime({ network, replica, signer, record, version, clock, random, log })
    await mesh.start()
    this.#running.push(() => mesh.stop())

    const license = new LicenseFile(licenseOf(config), { clock, log: log.module('agent') })
    this.#license = license
    const actors = startActors({
      replica,
      mesh,
      dataplane,
      clock,
      log,
      version,
      stateDir: config.stateDir,
      license: () => license.state,
      keys: {
        ring,
        settings: () => ({ maxAgeMs: this.#config.keyMaxAgeMs, overlapMs: this.#config.keyOverlapMs })
      },
      hostDoctor: {
        host: () => examineHost({ stateDir: config.stateDir, kernel: config.dataplane === 'kernel', ports: [] }),
        connects: (address) => connects(address, clock)
      },
      selfRecord: record,
      listen: () => ({
        mesh: network.addresses(),
        data: config.dataListen,
        api: this.#http?.tcpAddress ?? null,
        socket: config.socket,
        api_fingerprint: this.#http?.fingerprint ?? null
      }),
      host: {
        config: () => ({ ...this.#config }),
        log: () => this.#tail.lines(),
        traces: async () => (config.dataplane === 'kernel' ? traces() : []),
        secrets: ring.secrets()
      },
      onFatal
    })
    this.#actors = actors
    this.#running.push(() => actors.stop())

    this.#http = await startHttp({
      operator: actors.operator,
      socketPath: config.socket,
      apiListen: config.apiListen,
      stateDir: config.stateDir,
      tls: {
        cert: config.apiCert,
        key: config.apiKey,
        plain: config.apiPlain,
        names: [hostname(), config.name, ...ownHosts(), ...config.advertise]
      },
      log,
      version,
      clock
    })
    this.#running.push(() => this.#http!.stop())
    log.info({ peer: identity.peerId, name: config.name, version, dataplane: config.dataplane }, 'the agent is up')
  }

  /** Engines of an earlier run were at work when this one began: traffic that a failing start must not take down. */
  get adopted(): boolean {
    return this.#adopted
  }

  /** Its state directory held a cluster when it started. */
  get beganInCluster(): boolean {
    return this.#beganInCluster
  }

  /** Takes over what may change while running (`drain_timeout`, the age of keys, the licence and its key); names what needs a restart and leaves it. */
  reload(config: AgentConfig): void {
    const waiting = (Object.keys(config) as Array<keyof AgentConfig>).filter(
      (key) => !RELOADED.has(key) && JSON.stringify(config[key]) !== JSON.stringify(this.#config[key])
    )
    const { drainMs, keyMaxAgeMs, keyOverlapMs, license, licenseKey } = config
    this.#config = { ...this.#config, drainMs, keyMaxAgeMs, keyOverlapMs, license, licenseKey }
    this.#actors?.reloaded()
    this.#license?.reload(licenseOf(this.#config))
    void this.#http?.reload()
    this.#log.info({ drain_timeout_ms: config.drainMs, needs_restart: waiting }, 'the configuration was read again')
  }

  /**
   * `remove`: nothing of ours is left in the kernel. `keep`: rules and engines go on for the next agent. A part that
   * cannot be ended is logged and does not keep the others running.
   */
  async stop({ mode }: { mode: 'remove' | 'keep' }): Promise<void> {
    for (const end of this.#running.splice(0).reverse()) {
      await end({ mode }).catch((error: unknown) => {
        this.#log.error({ error: error instanceof Error ? error.stack : String(error) }, 'a part could not be stopped')
      })
    }
    this.#log.info({ mode }, 'the agent has stopped')
  }

  #dataplane({ current }: KeyRing, checked: Promise<void>): Dataplane {
    if (this.#config.dataplane === 'none') return new NoDataplane()
    const enginesDir = process.env['ARCTIC_ENGINES']
    return new KernelDataplane({
      stateDir: this.#config.stateDir,
      checked,
      dataListen: this.#config.dataListen,
      kcpCongestionControl: this.#config.kcpCongestionControl,
      privateKeys: { pegasus: current.pegasus.privateKey, tempest: current.tempest.privateKey },
      log: this.#log,
      clock: systemClock,
      random: systemRandom,
      ...(enginesDir == null ? {} : { enginesDir })
    })
  }
}

/** What a running agent takes over from its configuration. */
const RELOADED: ReadonlySet<keyof AgentConfig> = new Set([
  'drainMs',
  'keyMaxAgeMs',
  'keyOverlapMs',
  'license',
  'licenseKey'
])

const licenseOf = ({ license, licenseKey, stateDir }: AgentConfig): LicenseSettings => ({
  file: license,
  key: licenseKey == null ? null : Buffer.from(licenseKey, 'base64'),
  stateDir
})

async function usableDirectory(path: string, what: string, flag: string, mode: number): Promise<void> {
  try {
    await makeDirectory(path, mode)
    await access(path, constants.W_OK | constants.X_OK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const next =
      code === 'EACCES' || code === 'EPERM' ? 'run the agent as root, or give its user the directory' : 'mend that'
    throw new UnavailableError(
      `the ${what} ${path} cannot be written (${code}); ${next}, or choose another one with ${flag}`,
      {
        path,
        code
      }
    )
  }
}
