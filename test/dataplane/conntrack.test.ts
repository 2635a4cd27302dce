import { deepEqual, equal, ok } from 'node:assert/strict'
import * as fc from 'fast-check'
import { parseTracked, trackedFlows, type Bystander, type TrackedFlows } from '../../src/dataplane/conntrack.ts'
import type { InboundService } from '../../src/dataplane/desired.ts'
import { trackedFlowsMax } from '../../src/dataplane/limits.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import { parseAddress, parsePrefix, type Address, type Prefix } from '../../src/dataplane/prefix.ts'

const inbound = (destCidr: string | null): InboundService =>
  ({ routes: [{ destCidr, sourceCidr: null }] }) as unknown as InboundService

/** 10.1.0.1 of a network, with a member at 10.9.0.2, whose services bring 10.3.0.0/16 here. */
const bystander: Bystander = {
  host: {
    own: [parseAddress('10.1.0.1') as Address],
    attached: [parsePrefix('10.1.0.0/24') as Prefix]
  },
  marks: createMarks(),
  desired: { endpoints: ['10.9.0.2:7947', '[fd00:9::2]:7946'], inbound: [inbound('10.3.0.0/16')] }
}
const udp = (more: string): string => `ipv4     2 udp      17 29 ${more} mark=0 zone=0 use=2`

async function told(...lines: string[]): Promise<TrackedFlows['flows']> {
  async function* all(): AsyncGenerator<string> {
    yield* lines
  }
  return (await trackedFlows(bystander, all())).flows
}

describe('what a host says of connections that its kernel tracks', () => {
  it('has who began each, of whatever protocol, whether it is answered or not', async () => {
    deepEqual(
      await told(
        'ipv4     2 udp      17 109 src=10.1.0.7 dst=10.2.0.2 sport=5001 dport=53 src=10.2.0.2 dst=10.1.0.7 sport=53 dport=5001 [ASSURED] mark=50331648 zone=0 use=2',
        'ipv4     2 icmp     1 19 src=10.1.0.7 dst=10.2.0.3 type=8 code=0 id=30022 [UNREPLIED] src=10.2.0.3 dst=10.1.0.7 type=0 code=0 id=30022 mark=0 use=2',
        'ipv4     2 tcp      6 431994 ESTABLISHED src=10.1.0.8 dst=192.0.2.9 sport=46886 dport=443 src=192.0.2.9 dst=203.0.113.4 sport=443 dport=46886 [ASSURED] mark=0 use=2',
        'ipv6     10 tcp      6 113 TIME_WAIT src=fd00:0001:0000:0000:0000:0000:0000:0002 dst=fd00:0002:0000:0000:0000:0000:0000:0002 sport=1 dport=2 src=fd00:0002:0000:0000:0000:0000:0000:0002 dst=fd00:0001:0000:0000:0000:0000:0000:0002 sport=2 dport=1 [ASSURED] mark=0 zone=7 use=2',
        'ipv4     2 unknown  47 599 src=10.1.0.7 dst=10.2.0.4 [UNREPLIED] src=10.2.0.4 dst=10.1.0.7 mark=0 use=2'
      ),
      [
        { source: '10.1.0.7', dest: '10.2.0.2' },
        { source: '10.1.0.7', dest: '10.2.0.3' },
        { source: '10.1.0.8', dest: '192.0.2.9' },
        { source: 'fd00:1::2', dest: 'fd00:2::2' },
        { source: '10.1.0.7', dest: '10.2.0.4' }
      ]
    )
  })

  it('has each pair once, whatever the ports', async () => {
    const lines = [53, 54, 55].map((port) => udp(`src=10.1.0.7 dst=10.2.0.2 sport=${port} dport=9`))
    deepEqual(await told(...lines), [{ source: '10.1.0.7', dest: '10.2.0.2' }])
  })

  it('leaves out what routes have no say in', async () => {
    const tcp = 'ipv4     2 tcp      6 431994 ESTABLISHED'
    const left: Record<string, string> = {
      'to this host': udp('src=10.1.0.7 dst=10.1.0.1 sport=5 dport=53'),
      'by loopback': udp('src=127.0.0.1 dst=127.0.0.1 sport=5 dport=53'),
      'to all of a network': udp('src=10.1.0.7 dst=10.1.0.255 sport=5 dport=53'),
      multicast: udp('src=10.1.0.7 dst=224.0.0.251 sport=5353 dport=5353'),
      'on its link': udp('src=169.254.7.7 dst=10.2.0.2 sport=5 dport=53'),
      'out of a tunnel': `ipv4     2 udp      17 19 src=10.7.0.2 dst=10.2.0.2 sport=5 dport=999 zone-orig=41473 [UNREPLIED] src=10.2.0.2 dst=10.2.0.1 sport=999 dport=5 mark=0 use=2`,
      'to the data port of a member': udp('src=10.1.0.1 dst=10.9.0.2 sport=7947 dport=7947'),
      'over KCP to a member': udp('src=10.1.0.1 dst=10.9.0.2 sport=4000 dport=7948'),
      'from a member to another one': udp('src=10.9.0.2 dst=10.1.0.9 sport=7947 dport=7947'),
      'mesh of a member': `ipv6     10 tcp      6 431994 ESTABLISHED src=fd00:1::1 dst=fd00:9::2 sport=5 dport=7946 src=fd00:9::2 dst=fd00:1::1 sport=7946 dport=5 mark=0 use=2`,
      'of Pegasus, to what a service brings here': `${tcp} src=10.1.0.1 dst=10.3.0.2 sport=5 dport=80 src=10.3.0.2 dst=10.1.0.1 sport=80 dport=5 mark=0 use=2`,
      'no connection': 'conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.',
      nothing: ''
    }
    for (const [what, line] of Object.entries(left)) deepEqual(await told(line), [], what)
    // Near to each of them is something that is told.
    const kept = [
      `ipv4     2 udp      17 19 src=10.7.0.2 dst=10.2.0.2 sport=5 dport=999 zone-orig=41472 [UNREPLIED] mark=0 use=2`,
      udp('src=10.1.0.1 dst=10.9.0.2 sport=5 dport=7945'),
      udp('src=10.1.0.1 dst=10.3.0.2 sport=5 dport=80'),
      `${tcp} src=10.1.0.9 dst=10.3.0.2 sport=5 dport=80 mark=0 use=2`,
      `${tcp} src=10.1.0.1 dst=10.4.0.2 sport=5 dport=80 mark=0 use=2`
    ]
    for (const line of kept) equal((await told(line)).length, 1, line)
  })

  it('tells so many, and that there are more', async () => {
    async function* many(): AsyncGenerator<string> {
      for (let i = 0; i <= trackedFlowsMax; i++)
        yield udp(`src=10.1.0.7 dst=10.${20 + (i >> 16)}.${(i >> 8) & 255}.${i & 255} sport=5 dport=53`)
    }
    const { flows, more } = await trackedFlows(bystander, many())
    deepEqual([flows.length, more], [trackedFlowsMax, true])
  })

  it('takes whatever a line may be', () => {
    const word = fc.oneof(
      fc.constantFrom(
        'ipv4',
        'ipv6',
        'src=',
        'dst=',
        'src=10.0.0.1',
        'dst=10.0.0.2',
        'sport=1',
        'dport=2',
        'zone=',
        'udp',
        '17'
      ),
      fc.string()
    )
    fc.assert(
      fc.property(fc.array(word), (words) => {
        const parsed = parseTracked(words.join(' '))
        ok(parsed == null || parsed.source.family === parsed.dest.family)
      }),
      { numRuns: 2_000 }
    )
  })

  it('is read from a kernel, or said not to be there', async () => {
    try {
      ok(Array.isArray((await trackedFlows(bystander)).flows))
    } catch (error) {
      equal((error as { code?: string }).code, 'unavailable')
    }
  })
})
