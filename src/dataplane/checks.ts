import { open, readFile } from 'node:fs/promises'
import { UnavailableError } from '../errors.ts'
import { ProgramFailedError, ProgramMissingError, run, runOrThrow } from './exec.ts'
import { nft } from './nft.ts'

const CAP_NET_ADMIN = 12
const INSTEAD = 'or start with --dataplane none for the control plane alone'

/**
 * What the kernel data plane cannot do without, each tried for real and the first that is missing named.
 *
 * @throws {UnavailableError} with the reason in `details.reason`
 */
export async function checkHost(): Promise<void> {
  await checkCapability()
  await checkPrograms()
  await checkNftables()
  await checkTun()
}

async function checkCapability(): Promise<void> {
  const status = await readFile('/proc/self/status', 'utf8')
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
  if ((effective & (1n << BigInt(CAP_NET_ADMIN))) !== 0n) return
  throw unfit(
    'MissingCapability',
    `the capability CAP_NET_ADMIN is missing; run the agent as root or give it that capability, ${INSTEAD}`
  )
}

async function checkPrograms(): Promise<void> {
  for (const [program, debian] of [
    ['nft', 'nftables'],
    ['ip', 'iproute2']
  ] as const) {
    try {
      await run(program, ['-V'])
    } catch (error) {
      if (!(error instanceof ProgramMissingError)) throw error
      throw unfit('ProgramMissing', `${error.message}; install it (Debian: apt install ${debian}), ${INSTEAD}`)
    }
  }
}

/** One table with each expression the ruleset is made of; the kernel is asked without committing it. */
const PROBES: [feature: string, rule: string, hook: string][] = [
  ['nftables', 'accept', 'filter hook prerouting priority mangle'],
  [
    'nftables TPROXY (nft_tproxy)',
    'meta l4proto tcp meta nfproto ipv4 tproxy ip to 127.0.0.1:1',
    'filter hook prerouting priority mangle'
  ],
  [
    'nftables socket matching (nft_socket)',
    'socket transparent 1 socket wildcard 0 accept',
    'filter hook prerouting priority mangle'
  ],
  ['nftables fib lookups (nft_fib_inet)', 'fib daddr type local accept', 'filter hook prerouting priority mangle'],
  ['conntrack zones (nft_ct)', 'ct original zone set 1', 'filter hook prerouting priority raw'],
  ['masquerading (nft_masq)', 'masquerade', 'nat hook postrouting priority srcnat']
]

async function checkNftables(): Promise<void> {
  for (const [feature, rule, hook] of PROBES) {
    try {
      await nft.check(`table inet arctic_probe {\n chain probe {\n type ${hook}; policy accept;\n ${rule}\n}\n}\n`)
    } catch (error) {
      if (!(error instanceof ProgramFailedError)) throw error
      throw unfit(
        'KernelFeatureMissing',
        `the kernel has no ${feature}: ${error.message}; load or build that module, ${INSTEAD}`
      )
    }
  }
}

/** Makes and removes a TUN device under a name of its own. */
async function checkTun(): Promise<void> {
  const name = `arct-p${process.pid.toString(36)}`
  try {
    await (await open('/dev/net/tun', 'r+')).close()
    await runOrThrow('ip', ['tuntap', 'add', 'dev', name, 'mode', 'tun', 'vnet_hdr'])
    await runOrThrow('ip', ['link', 'delete', 'dev', name])
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error)
    throw unfit(
      'KernelFeatureMissing',
      `TUN devices cannot be made: ${said}; load the tun module and make /dev/net/tun accessible, ${INSTEAD}`
    )
  }
}

const unfit = (reason: string, message: string): UnavailableError =>
  new UnavailableError(`the kernel data plane cannot start: ${message}`, { reason })
