import { run } from './exec.ts'
import { isOurs } from './interfaces.ts'
import { ip } from './ip.ts'
import { DEFAULT_MARKS } from './marks.ts'
import { TABLE } from './ruleset.ts'

/** What one program said, or why it did not. */
export interface Trace {
  command: string
  output: string
}

/** Everything of ours in this host's kernel, as its own programs show it; never fails, since it is for when things do. */
export async function traces(): Promise<Trace[]> {
  const proto = String(DEFAULT_MARKS.protocol)
  const commands = [
    ['nft', 'list', 'table', 'inet', TABLE],
    ...['-4', '-6'].flatMap((family) => [
      ['ip', family, '-d', 'rule', 'show', 'protocol', proto],
      ['ip', family, '-d', 'route', 'show', 'table', 'all', 'proto', proto]
    ]),
    ...(await devices()).map((name) => ['ip', '-d', '-s', 'address', 'show', 'dev', name]),
    ['sysctl', 'net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv4.conf.all.rp_filter'],
    ['nft', '--version'],
    ['ip', '-V'],
    ['uname', '-a']
  ]
  return Promise.all(
    commands.map(async ([program = '', ...args]) => ({
      command: [program, ...args].join(' '),
      output: await said(program, args)
    }))
  )
}

async function said(program: string, args: string[]): Promise<string> {
  try {
    const { code, stdout, stderr } = await run(program, args)
    return code === 0 ? stdout : `${stdout}exit ${code}: ${stderr}`
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

async function devices(): Promise<string[]> {
  try {
    return (await ip.links()).filter(isOurs).map(({ ifname }) => ifname)
  } catch {
    return []
  }
}
