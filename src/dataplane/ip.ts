import { run, runOrThrow, ProgramFailedError } from './exec.ts'
import type { Family } from './prefix.ts'

/** `ip -j addr`, the fields that are used. */
export interface IpLink {
  ifindex: number
  ifname: string
  flags: string[]
  mtu: number
  link?: string
  /** Null when the parent is in another namespace. */
  link_index?: number
  address?: string
  ifalias?: string
  link_type: string
  linkinfo?: { info_kind?: string }
  addr_info: { family: 'inet' | 'inet6'; local: string; prefixlen: number; scope: string; address?: string }[]
}

export interface IpRoute {
  type?: string
  dst: string
  gateway?: string
  via?: { host: string }
  dev?: string
  table?: string
  protocol?: string
  scope?: string
  metric?: number
  flags?: string[]
}

export interface IpRule {
  priority: number
  /** Present, whatever its value, in a rule that takes all but what it says. */
  not?: null
  src?: string
  dst?: string
  iif?: string
  oif?: string
  fwmark?: string
  fwmask?: string
  table: string
  protocol?: string
}

/** Devices and their addresses belong to no family. */
const flag = (family: Family | null): string[] => (family == null ? [] : [family === 4 ? '-4' : '-6'])

export const ip = {
  links: async (): Promise<IpLink[]> => parse((await runOrThrow('ip', ['-d', '-j', 'address', 'show'])).stdout),

  rules: async (family: Family): Promise<IpRule[]> =>
    parse((await runOrThrow('ip', [...flag(family), '-N', '-d', '-j', 'rule', 'show'])).stdout),

  /** Routes of all tables that were made under a `proto` number; the kernel filters. */
  routesOf: async (family: Family, protocol: number): Promise<IpRoute[]> =>
    parse(
      (
        await runOrThrow('ip', [
          ...flag(family),
          '-N',
          '-d',
          '-j',
          'route',
          'show',
          'table',
          'all',
          'proto',
          String(protocol)
        ])
      ).stdout
    ),

  /** Numbers of the tables that hold a route which was not made under `protocol`. */
  tablesOfOthers: async (protocol: number): Promise<number[]> => {
    const all: IpRoute[] = []
    for (const family of [4, 6] as const) {
      const { code, stdout } = await run('ip', [...flag(family), '-N', '-d', '-j', 'route', 'show', 'table', 'all'])
      if (code === 0) all.push(...parse<IpRoute>(stdout))
    }
    const others = all.filter((route) => Number(route.protocol) !== protocol && route.table != null)
    return [...new Set(others.map(({ table }) => Number(table)))]
  },

  /** The host's own routes. */
  mainRoutes: async (family: Family): Promise<IpRoute[]> => {
    const { code, stdout } = await run('ip', [...flag(family), '-N', '-d', '-j', 'route', 'show', 'table', 'main'])
    return code === 0 ? parse(stdout) : []
  },

  /** Runs commands (without the leading `ip`) in one process; the first that fails ends it. */
  batch: async (family: Family | null, commands: readonly string[]): Promise<void> => {
    if (commands.length === 0) return
    await runOrThrow('ip', [...flag(family), '-batch', '-'], { input: `${commands.join('\n')}\n` })
  },

  /** The same, but what is gone already is no failure: every command is tried. */
  batchForce: async (family: Family | null, commands: readonly string[]): Promise<void> => {
    if (commands.length === 0) return
    const result = await run('ip', [...flag(family), '-force', '-batch', '-'], { input: `${commands.join('\n')}\n` })
    const serious = result.stderr.split('\n').filter((line) => line !== '' && !GONE.test(line))
    if (result.code !== 0 && serious.length > 0) {
      throw new ProgramFailedError('ip', { ...result, stderr: serious.join('\n') })
    }
  }
}

/** What `ip` says when something to delete is not there, and the line that follows each failure. */
const GONE = /No such (device|file|process)|Cannot find device|FIB table does not exist|Command failed/

/** An empty answer is an empty list; in batch mode `ip` leaves objects without fields between the others. */
function parse<T>(json: string): T[] {
  if (json.trim() === '') return []
  return (JSON.parse(json) as T[]).filter((item) => Object.keys(item as object).length > 0)
}
