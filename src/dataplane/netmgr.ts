import { isIPv4 } from 'node:net'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import { ArpGuard } from './arp-guard.ts'
import { announceCommands, DeviceError, deviceCommands, staleDevices, type WantedDevice } from './devices.ts'
import { ProgramFailedError } from './exec.ts'
import { hostFacts, isOurs, sameNetworks, type HostFacts } from './interfaces.ts'
import { ip, type PolicyListing } from './ip.ts'
import { IpSession } from './ip-session.ts'
import type { Marks } from './marks.ts'
import { nft } from './nft.ts'
import { CHANGES, NftSession, TABLES } from './nft-session.ts'
import {
  actualRoutes,
  actualRules,
  wantedDeviceRules,
  wantedRoutes,
  wantedRules,
  without,
  type PolicyTunnel
} from './policy.ts'
import type { Family } from './prefix.ts'
import { Reading } from './reading.ts'
import { changesOfParts } from './ruleset-change.ts'
import { overlayText, refillText } from './ruleset-refill.ts'
import type { NftObject } from './ruleset-objects.ts'
import { RulesetMemory, rulesetParts, tableText, type Counter, type Ruleset, type Steering } from './ruleset.ts'
import { deviceSysctls, speaksIpv6, sysctl } from './sysctl.ts'
import { EVERYTHING, type Part } from './watch.ts'

export interface NetManagerOptions {
  marks: Marks
  log: Logger
  clock: Clock
  /** Somebody listens to the kernel, and says what may have changed by {@link NetManager.changed}. */
  isWatched: () => boolean
}

/** What of ours should be in the kernel; the last one told is what repairs go back to. */
interface Wanted {
  devices: WantedDevice[]
  tunnels: PolicyTunnel[]
  /** Devices of services, for programs that are bound to them. */
  ownDevices: string[]
  ruleset: { parts: Ruleset; listing: Promise<string | null> } | null
}

/**
 * Owner of everything arctic has in the kernel: the nft table, policy rules and routes, devices and their sysctls. Each
 * method looks first and changes only what differs, so doing it again is free and adopting what a killed agent left is
 * the same as applying. Where it has looked, and the kernel is watched, it does not look again before it hears of a change.
 * Nobody calls two methods at once; `kernel.ts` serialises them.
 */
export class NetManager {
  readonly #marks: Marks
  readonly #log: Logger
  readonly #clock: Clock
  #wanted: Wanted = { devices: [], tunnels: [], ownDevices: [], ruleset: null }
  readonly #memory = new RulesetMemory()
  readonly #arp = new ArpGuard()
  readonly #ip: IpSession
  readonly #session: NftSession
  readonly #listings: NftSession
  readonly #changes: NftSession
  /** Somebody may have changed the ruleset since it was last compared. */
  #rulesetDoubtful = true
  readonly #facts: Reading<HostFacts>
  readonly #policyFound: Reading<PolicyListing[]>
  /** Devices whose sysctls are set. */
  readonly #settled = new Set<string>()
  #ipv6 = true

  constructor({ marks, log, clock, isWatched }: NetManagerOptions) {
    this.#marks = marks
    this.#log = log.module('netmgr')
    this.#clock = clock
    this.#ip = new IpSession(clock)
    this.#session = new NftSession(clock)
    this.#listings = new NftSession(clock, TABLES)
    this.#changes = new NftSession(clock, CHANGES)
    this.#facts = new Reading(() => this.#readFacts(), isWatched)
    this.#policyFound = new Reading(() => this.#readPolicy(), isWatched)
  }

  /** Something may be otherwise than it was read. */
  changed(part: Part): void {
    if (part === 'ruleset') this.#rulesetDoubtful = true
    if (part === 'networks') this.#facts.changed()
    if (part === 'policy') this.#policyFound.changed()
  }

  /** The host as it was when it was last read. */
  get networks(): HostFacts | null {
    return this.#facts.last
  }

  /** The host as it is now. */
  facts = (): Promise<HostFacts> => this.#facts.current()

  async #readFacts(): Promise<HostFacts> {
    this.#ipv6 = await speaksIpv6(sysctl)
    const { links, routes4, routes6 } = await ip.host(this.#ip, { ipv6: this.#ipv6 })
    return hostFacts(links, routes4, routes6)
  }

  /**
   * Makes the wanted devices and leaves others alone. Answers with the failures by device name, and whether anything was
   * changed, so that `facts` are old.
   */
  async makeDevices(
    devices: readonly WantedDevice[],
    { links }: HostFacts
  ): Promise<{ failures: Map<string, DeviceError>; changed: boolean }> {
    const failures = new Map<string, DeviceError>()
    const changed: WantedDevice[] = []
    for (const device of devices) {
      try {
        const commands = deviceCommands(device, links)
        if (commands.length > 0) {
          await this.#bringTo(device, commands)
          changed.push(device)
          this.#log.info({ device: device.name, kind: device.kind }, 'device is up')
        } else if (!this.#settled.has(device.name)) await this.#setSysctls(device.name)
      } catch (error) {
        failures.set(device.name, deviceError(device, error))
        if (!(error instanceof DeviceError)) await this.#dropHalfMade(device)
      }
    }
    this.#wanted.devices = devices.filter(({ name }) => !failures.has(name))
    await this.#guardAddresses()
    await this.#announce(changed)
    return { failures, changed: changed.length > 0 || failures.size > 0 }
  }

  /** Removes devices of ours that were not in the last `makeDevices`. */
  async dropStaleDevices({ links }: Pick<HostFacts, 'links'>): Promise<void> {
    const stale = staleDevices(this.#wanted.devices, links)
    if (stale.length === 0) return
    this.#facts.changed()
    for (const name of stale) this.#settled.delete(name)
    await ip.batchForce(
      null,
      stale.map((name) => `link delete dev ${name}`)
    )
    this.#log.info({ devices: stale }, 'devices removed')
  }

  /**
   * Rules and tables for these tunnels, services' devices and TPROXY; answers what was missing, and how to drop those of
   * others.
   */
  async makePolicy(
    tunnels: readonly PolicyTunnel[],
    ownDevices: readonly string[]
  ): Promise<{ added: string[]; prune: () => Promise<void> }> {
    this.#wanted.tunnels = [...tunnels]
    this.#wanted.ownDevices = [...ownDevices]
    const rules = wantedRules(this.#marks, tunnels)
    const byDevice = wantedDeviceRules(this.#marks, ownDevices)
    return this.#policy({ 4: rules, 6: [...rules, ...byDevice] }, wantedRoutes(this.#marks, tunnels, ownDevices))
  }

  /** Brings the table to what it should be: by what differs from what was loaded last, or else anew. */
  async loadRuleset(steering: Steering): Promise<void> {
    const began = this.#clock.monotonic()
    const parts = rulesetParts(steering, this.#memory)
    const before = this.#wanted.ruleset
    const changes = before == null ? null : changesOfParts(before.parts, parts)
    if (changes?.length === 0) return
    if (changes == null || this.#rulesetDoubtful || !(await this.#changeRuleset(changes))) {
      await this.#loadAnew(parts)
      return
    }
    this.#loaded(parts)
    const ms = Math.round(this.#clock.monotonic() - began)
    this.#log.debug({ commands: changes.length, ms }, 'ruleset changed')
  }

  /** Fills the table that is there, or replaces it where that cannot be done. */
  async #loadAnew(parts: Ruleset, known?: string | null): Promise<void> {
    const began = this.#clock.monotonic()
    if (known === undefined) this.#rulesetDoubtful = false
    const listing = known === undefined ? await nft.listing(this.#listings) : known
    const objects = parts.flat()
    if (!(await this.#refill(listing, objects))) {
      const counters = listing === '' ? new Map<string, Counter>() : await this.counters()
      await nft.load(tableText(objects, counters))
      const ms = Math.round(this.#clock.monotonic() - began)
      this.#log.debug({ ms }, listing === '' ? 'ruleset made' : 'ruleset replaced')
    } else this.#log.debug({ ms: Math.round(this.#clock.monotonic() - began) }, 'ruleset filled anew')
    this.#loaded(parts)
  }

  /** False when the table is to be replaced: then it stands as it was, or is not there. */
  async #refill(listing: string | null, objects: readonly NftObject[]): Promise<boolean> {
    const script = listing == null || listing === '' ? null : refillText(listing, objects)
    if (listing == null || script == null) return false
    try {
      const overlay = overlayText(listing, objects)
      if (overlay == null) {
        await nft.load(script)
        return true
      }
      await nft.load(overlay)
      const overlaid = await nft.listing(this.#listings)
      const rest = overlaid == null ? null : refillText(overlaid, objects)
      if (rest == null) return false
      await nft.load(rest)
      return true
    } catch (error) {
      this.#log.debug({ error: String(error) }, 'the ruleset cannot be filled anew; it is replaced')
      return false
    }
  }

  /** What the table looks like from outside is only needed by the next repair. */
  #loaded(parts: Ruleset): void {
    this.#wanted.ruleset = { parts, listing: nft.listing(this.#listings) }
  }

  /** False when the kernel has not taken them: then another hand was there, and the table stands as it was. */
  async #changeRuleset(changes: readonly string[]): Promise<boolean> {
    try {
      await nft.change(this.#changes, changes)
      return true
    } catch (error) {
      this.#log.debug({ error: String(error) }, 'the ruleset cannot be changed where it differs; it is loaded anew')
      return false
    }
  }

  /** Nothing is asked any more. */
  async close(): Promise<void> {
    await Promise.all([this.#ip, this.#session, this.#listings, this.#changes].map((session) => session.close()))
  }

  counters = (): Promise<Map<string, Counter>> => nft.counters(this.#session)

  /**
   * Compares these parts of the kernel with what should be there and puts back what is missing, the ruleset first. Names in
   * words what had vanished, as soon as it is back; answers whether the host's networks have changed since they were last
   * read, and whether a device cannot be put back: its parent has gone with it, say. What is to be then, the next apply
   * works out.
   */
  async repair(
    parts: ReadonlySet<Part>,
    onRepaired: (what: string) => void
  ): Promise<{ networksChanged: boolean; deviceLost: boolean }> {
    const before = this.#facts.last
    const lost = new Set<string>()
    const [facts] = await Promise.all([
      parts.has('networks') ? this.#facts.anew() : this.#facts.current(),
      parts.has('ruleset') ? this.#repairRuleset(onRepaired) : null
    ])
    for (const device of this.#wanted.devices) {
      const there = facts.links.find(({ ifname }) => ifname === device.name)
      try {
        const commands = deviceCommands(device, facts.links)
        if (commands.length === 0) {
          if (parts.has('networks'))
            for (const path of await this.#setSysctls(device.name)) onRepaired(`sysctl ${path}`)
          continue
        }
        await this.#bringTo(device, commands)
        await this.#announce([device])
        onRepaired(there == null ? `device ${device.name}` : `settings of device ${device.name}`)
      } catch (error) {
        lost.add(device.name)
        this.#log.warn({ device: device.name, error: String(error) }, 'device cannot be put back')
      }
    }
    if (parts.has('ruleset') && (await this.#arp.repair())) onRepaired('nftables table arp arctic')
    if (parts.has('policy')) this.#policyFound.changed()
    if (this.#wanted.ruleset != null) {
      const { tunnels, ownDevices } = this.#wanted
      // The kernel takes no route by a device that is not there.
      const { added } = await this.makePolicy(
        tunnels.map((tunnel) => (lost.has(tunnel.device ?? '') ? { ...tunnel, device: null } : tunnel)),
        ownDevices.filter((device) => !lost.has(device))
      )
      for (const what of added) onRepaired(what)
    }
    return { networksChanged: before != null && !sameNetworks(before, facts), deviceLost: lost.size > 0 }
  }

  async #repairRuleset(onRepaired: (what: string) => void): Promise<void> {
    const { ruleset } = this.#wanted
    if (ruleset == null) return
    this.#rulesetDoubtful = false
    const [expected, listing] = await Promise.all([ruleset.listing, nft.listing(this.#listings)])
    // Whoever flushed it just before it was listed as ours has flushed it all the same.
    if (listing === expected && listing !== '') return
    // Without anything to compare with, what is there counts as ours.
    if (expected == null && listing != null && listing !== '') {
      ruleset.listing = Promise.resolve(listing)
      return
    }
    await this.#loadAnew(ruleset.parts, listing)
    onRepaired(listing == null || listing === '' ? 'nftables table inet arctic' : 'rules in nftables table inet arctic')
  }

  /** Takes everything of ours out of the kernel, whoever of us put it there. */
  async removeAll(): Promise<void> {
    this.#wanted = { devices: [], tunnels: [], ownDevices: [], ruleset: null }
    for (const part of EVERYTHING) this.changed(part)
    this.#settled.clear()
    this.#ipv6 = await speaksIpv6(sysctl)
    await nft.remove()
    await this.#arp.remove()
    const { prune } = await this.#policy({ 4: [], 6: [] }, [])
    await prune()
    await this.dropStaleDevices({ links: await ip.links() })
  }

  async #policy(
    rules: Record<Family, string[]>,
    routes: string[]
  ): Promise<{ added: string[]; prune: () => Promise<void> }> {
    const found = await this.#policyFound.current()
    const sides = await Promise.all(found.map((one) => this.#policyOf(one, rules[one.family], routes)))
    return {
      added: sides.flatMap(({ added }) => added),
      prune: async () => {
        for (const { family, extra } of sides) {
          if (extra.length > 0) this.#policyFound.changed()
          await ip.batchForce(family, extra)
        }
      }
    }
  }

  #readPolicy(): Promise<PolicyListing[]> {
    return ip.policy(this.#ip, this.#ipv6 ? [4, 6] : [4], this.#marks.protocol)
  }

  async #policyOf(found: PolicyListing, rules: string[], routes: string[]) {
    const haveRules = actualRules(found.rules, this.#marks)
    const haveRoutes = actualRoutes(found.routes, this.#marks)
    const newRules = without(rules, haveRules)
    const newRoutes = without(routes, haveRoutes)
    const { family } = found
    if (newRoutes.length + newRules.length > 0) this.#policyFound.changed()
    // Tables before the rules that lead to them, and the other way round when they go.
    await ip.batch(family, [
      ...newRoutes.map((line) => `route add ${line}`),
      ...newRules.map((line) => `rule add ${line}`)
    ])
    return {
      family,
      added: [
        ...newRules.map((line) => `IPv${family} rule ${line}`),
        ...newRoutes.map((line) => `IPv${family} route ${line}`)
      ],
      extra: [
        ...without(haveRules, rules).map((line) => `rule delete ${line}`),
        ...without(haveRoutes, routes).map((line) => `route delete ${line}`)
      ]
    }
  }

  async #guardAddresses(): Promise<void> {
    const guarded = this.#wanted.devices.flatMap((device) =>
      device.kind === 'tun'
        ? []
        : device.addresses.map(({ cidr }) => ({ device: device.name, address: cidr.split('/')[0] ?? '' }))
    )
    try {
      await this.#arp.set(guarded.filter(({ address }) => isIPv4(address)))
    } catch (error) {
      this.#log.warn(
        { error: String(error) },
        'other interfaces of this host may answer ARP for the addresses of services'
      )
    }
  }

  async #bringTo(device: WantedDevice, commands: readonly string[]): Promise<void> {
    this.#facts.changed()
    // Before as well: where IPv6 was switched off on a device, it takes no address.
    await this.#setSysctls(device.name)
    await ip.batch(null, commands)
    await this.#setSysctls(device.name)
  }

  async #announce(devices: readonly WantedDevice[]): Promise<void> {
    try {
      await ip.batch(null, devices.flatMap(announceCommands))
    } catch (error) {
      this.#log.warn({ error: String(error) }, 'neighbours were not told of the addresses of services')
    }
  }

  /** Answers which were otherwise. */
  async #setSysctls(device: string): Promise<string[]> {
    const all = await sysctl.read('ipv4/conf/all/rp_filter')
    const changed: string[] = []
    for (const [path, value] of deviceSysctls(device, all, this.#ipv6))
      if (await sysctl.set(path, value)) changed.push(path)
    this.#settled.add(device)
    return changed
  }

  /** A device that failed on the way (an address refused, say) must not stay as if it were there. */
  async #dropHalfMade(device: WantedDevice): Promise<void> {
    const link = (await ip.links()).find(({ ifname }) => ifname === device.name)
    if (link != null && isOurs(link)) await ip.batchForce(null, [`link delete dev ${device.name}`])
  }
}

function deviceError(device: WantedDevice, error: unknown): DeviceError {
  if (error instanceof DeviceError) return error
  const said = (error instanceof ProgramFailedError ? error.stderr : String(error)).trim().split('\n')[0] ?? ''
  return device.kind === 'tun'
    ? new DeviceError(
        'TunnelDeviceFailed',
        `the TUN device ${device.name} cannot be made: ${said}; is the kernel's tun module there?`
      )
    : new DeviceError('MacvlanFailed', `the MACVLAN device ${device.name} on ${device.parent} cannot be made: ${said}`)
}
