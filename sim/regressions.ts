/** What a run has found once, and every check runs again. `sim fuzz` prints the line to add; give it a name and say what broke. */
export interface Regression {
  readonly name: string
  readonly scenario: string
  readonly peers: number
  readonly seed: string
  /** As `--faults` takes them. */
  readonly faults: string
  readonly broke: string
}

export const REGRESSIONS: readonly Regression[] = [
  {
    name: 'revoked by somebody who is being revoked',
    scenario: 'limping-hosts',
    peers: 6,
    seed: 'members1.18',
    faults: 'revoke@566+1821:2,0,5,1',
    broke: 'the authority checker held everybody to a revocation whose author was cut off before it'
  },
  {
    name: 'a newer version twice on one host',
    scenario: 'mixed-versions',
    peers: 7,
    seed: 'members1.34',
    faults: 'newer@1000+20000:1,4;split@4755+3790:1,2,3;newer@6743+179:4,2',
    broke: 'two agents of a newer version used one number on one host, and the run broke off'
  },
  {
    name: 'the connection breaks between the admission and the first sync',
    scenario: 'peers-join',
    peers: 6,
    seed: 'rejoin.5',
    faults: 'loss@0+20000=16;restart@3324+2585:0,3,4,5',
    broke: 'a join ended with an error that no operator understands, although the peer was a member'
  },
  {
    name: 'stopped while it joins',
    scenario: 'peers-join',
    peers: 7,
    seed: 'rejoin.45',
    faults: 'freeze@1604+7496:5,2,0,3,4,1;restart@7395+5387:6,3,1,4,0',
    broke: 'an agent that was stopped went on dialling its inviter'
  },
  {
    name: 'room on the disk again before a host that stood still hears that there was none',
    scenario: 'limping-hosts',
    peers: 5,
    seed: 'noon30.142',
    faults: 'slow@1000+18000:1=310;freeze@4240+8557:0;disk-full@5780+4651:3,0,1,4',
    broke: "the simulator's disk said that it had taken a write of which it had taken a part"
  },
  {
    name: 'what a newer version wrote goes with its author',
    scenario: 'mixed-versions',
    peers: 4,
    seed: 'noon30.19',
    faults: 'newer@1000+20000:1,4;revoke@10098+4337:3,1,0',
    broke: 'the durability checker held everybody to a change that a revocation had cut off'
  },
  {
    name: 'a newer version is revoked and goes on writing',
    scenario: 'mixed-versions',
    peers: 7,
    seed: 'nov30e.143',
    faults: 'newer@1000+20000:1,4;freeze@11393+4046:2,0;revoke@12308+3647:4',
    broke: 'the newer version numbered what it wrote after changes of its own that did not count, and the run broke off'
  },
  {
    name: 'a copied identity writes on both sides of a split',
    scenario: 'cloned-peer',
    peers: 5,
    seed: 'helper-a.30',
    faults: 'clone@4998+11471:1;split@3411+6507:1,3,4',
    broke:
      'each side held another change under one number, by their vectors neither lacked any, and they never agreed again'
  },
  {
    name: 'more traitors than honest members',
    scenario: 'traitor',
    peers: 5,
    seed: 'helper-a.8',
    faults: 'traitor@4067+5955:4,0,2,1;latency@3353+6349:3,4,1=414',
    broke: 'the bounds checker counted the deadlines of the streams that four traitors held as timers without a reason'
  }
]

/** The line to add, but for its name and what broke. */
export const regressionLine = ({ scenario, peers, seed, faults }: Omit<Regression, 'name' | 'broke'>): string =>
  `{ name: '', scenario: '${scenario}', peers: ${peers}, seed: '${seed}', faults: '${faults}', broke: '' }`
