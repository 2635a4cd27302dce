import { constants } from 'node:fs'
import { access, readdir, readFile, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ArcticError } from '../../errors.ts'
import { capability, macvlan, needed, programs, type Feature } from '../checks.ts'
import { checkDataPort } from '../data-port.ts'
import { run } from '../exec.ts'
import { ip } from '../ip.ts'
import { createMarks } from '../marks.ts'
import { TABLE } from '../ruleset.ts'
import { speaksIpv6, sysctl } from '../sysctl.ts'
import { type Check, fail, ok, warn } from './check.ts'
import { forwardDrops, inputDrops, markClashes, routingRuleClashes, tableClashes } from './clashes.ts'
import { forwarding, openFiles, reversePath, stateDirectory } from './host-checks.ts'
import { readRuleset } from './ruleset-reader.ts'

export interface Examined {
  stateDir: string
  /** Where the agent would listen; empty while it does. */
  ports: ReadonlyArray<{ address: string; protocol: 'tcp' | 'udp'; flag: string }>
  /** False: the control plane alone, to which the kernel does not matter. */
  kernel: boolean
}

/**
 * Everything of this host that an agent on it stands on. It runs in the agent, or in the CLI where no agent runs:
 * 1. what the kernel data plane needs, each tried for real;
 * 2. settings and rules of others that get in its way;
 * 3. ports, files and disk.
 * Nothing is changed but for probe devices, which are gone again.
 */
export async function examineHost({ stateDir, ports, kernel }: Examined): Promise<Check[]> {
  return [
    ...(kernel ? await examineKernel() : [ok('data plane', 'none: the kernel does not matter')]),
    ...(await Promise.all(ports.map(examinePort))),
    openFiles(await readFile('/proc/self/limits', 'utf8')),
    stateDirectory(stateDir, await lookAt(stateDir))
  ]
}

async function examineKernel(): Promise<Check[]> {
  const checks = [await examine(capability)]
  for (const program of programs) checks.push(await examine(program))
  const lacking = checks.find(({ status }) => status === 'fail')
  if (lacking != null) {
    const found = `not looked at, because ${lacking.found}`
    checks.push(warn('kernel', found, 'mend that first, and run "arctic doctor" as root'))
  } else {
    for (const feature of needed) checks.push(await examine(feature))
    checks.push(await examine(macvlan, 'warn'))
    checks.push(...(await examineRules()))
  }
  const devices = await readdir('/proc/sys/net/ipv4/conf')
  const filters = devices
    .filter((device) => device !== 'default' && !device.startsWith('arct-'))
    .map(async (device) => [device, (await sysctl.read(`ipv4/conf/${device}/rp_filter`)) ?? '0'] as const)
  checks.push(reversePath(new Map(await Promise.all(filters))))
  const ipv6 = (await speaksIpv6(sysctl)) ? await sysctl.read('ipv6/conf/all/forwarding') : null
  checks.push(forwarding(await sysctl.read('ipv4/ip_forward'), ipv6))
  return checks
}

async function examine({ name, missing }: Feature, otherwise: 'warn' | 'fail' = 'fail'): Promise<Check> {
  const lack = await missing()
  if (lack == null) return ok(name, 'there')
  return (otherwise === 'warn' ? warn : fail)(name, lack.found, lack.mend)
}

async function examineRules(): Promise<Check[]> {
  const marks = createMarks()
  const { stdout } = await run('nft', ['-s', 'list', 'ruleset'])
  const foreign = readRuleset(stdout, `inet ${TABLE}`)
  const rules = [...(await ip.rules(4)), ...((await speaksIpv6(sysctl)) ? await ip.rules(6) : [])]
  const tables = await ip.tablesOfOthers(marks.protocol)
  return [
    markClashes(foreign, rules, marks),
    routingRuleClashes(rules, marks),
    tableClashes(rules, tables, marks),
    forwardDrops(foreign),
    inputDrops(foreign, marks),
    await legacyRules()
  ]
}

/** Rules that the old iptables keeps beside nftables, where nobody sees them. */
async function legacyRules(): Promise<Check> {
  const name = 'legacy iptables'
  const tables = (await readFile('/proc/net/ip_tables_names', 'utf8').catch(() => '')).trim().split(/\s+/).join(', ')
  if (tables === '') return ok(name, 'no rules')
  return warn(
    name,
    `tables ${tables} of iptables-legacy are in use, whose rules this check does not see`,
    'look at "iptables-legacy-save" for marks and drops, and move to iptables-nft'
  )
}

async function examinePort({ address, protocol, flag }: Examined['ports'][number]): Promise<Check> {
  const name = `port ${address} (${protocol})`
  try {
    await checkDataPort(address, protocol)
    return ok(name, 'free')
  } catch (error) {
    if (!(error instanceof ArcticError)) throw error
    const { code } = error.details
    if (code !== 'EADDRINUSE') return fail(name, `cannot be listened on (${String(code)})`, `correct --${flag}`)
    const how = protocol === 'tcp' ? 'lt' : 'lu'
    return fail(name, 'another program uses it', `stop it (see "ss -${how}np"), or choose another port with --${flag}`)
  }
}

/** Of a directory that the agent has yet to make, the one it will be made in. */
async function lookAt(path: string): Promise<{ error: string } | { freeBytes: number }> {
  try {
    await access(path, constants.W_OK | constants.X_OK)
    const { bavail, bsize } = await statfs(path)
    return { freeBytes: bavail * bsize }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(path) !== path) return lookAt(dirname(path))
    return { error: code ?? String(error) }
  }
}
