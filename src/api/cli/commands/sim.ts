import type { Command, Flag } from '../command.ts'

const seed: Flag = { name: 'seed', kind: 'text', placeholder: 'S', help: 'the same seed is the same run, every time' }

/** `arctic sim` is run by src/main.ts before this client is loaded; it is here so that help and completion know it. */
export const simCommands: readonly Command[] = [
  {
    words: ['sim', 'run'],
    summary: 'Play a scenario with simulated peers in virtual time; a violation is exit 1',
    args: [{ name: 'SCENARIO', help: 'what "arctic sim list" shows' }],
    flags: [
      { name: 'peers', kind: 'integer', placeholder: 'N', help: "how many (the scenario's own number)" },
      { ...seed, help: `${seed.help} (1)` },
      { name: 'faults', kind: 'text', placeholder: 'LIST', help: "instead of the scenario's own; see sim list" },
      {
        name: 'agents',
        kind: 'text',
        placeholder: 'whole|light',
        help: 'light ones hold and carry the state, and no more (whole up to 100 peers)'
      },
      { name: 'network', kind: 'text', placeholder: 'light|libp2p', help: 'libp2p itself, up to 100 peers (light)' },
      {
        name: 'timeline',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'what happened: a page for .html, else mermaid'
      }
    ],
    examples: ['arctic sim run split-site --peers 20 --seed 7'],
    run: null
  },
  { words: ['sim', 'list'], summary: 'List scenarios, what runs are held to, and faults', run: null },
  {
    words: ['sim', 'fuzz'],
    summary: 'Play random scenarios, seeds and faults, and shrink what fails',
    flags: [
      { name: 'minutes', kind: 'number', placeholder: 'M', required: true, help: 'how long' },
      { ...seed, help: 'where to begin (a fresh one)' },
      { name: 'scenario', kind: 'text', placeholder: 'NAME', help: 'this one only' }
    ],
    run: null
  },
  {
    words: ['sim', 'rehearse'],
    summary: 'Play a change of the mesh file before it is made: which flows would move, drop or appear',
    flags: [
      {
        name: 'file',
        short: 'f',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        required: true,
        help: 'as "apply" takes it'
      },
      { name: 'prune', kind: 'boolean', help: 'as "apply --prune": services that the file does not name are deleted' },
      { name: 'from', kind: 'text', placeholder: 'live|FILE', live: 'file', help: 'the cluster to begin with (live)' },
      {
        name: 'flow-log',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: "flows as lines of JSON, e.g. an agent's log (open TCP flows, and those that ended last)"
      },
      { name: 'listen', kind: 'integer', placeholder: 'SECONDS', help: 'or listen to the agent for flows that end' },
      { name: 'save', kind: 'text', placeholder: 'FILE', live: 'file', help: 'keep the cluster for a later --from' }
    ],
    examples: [
      'arctic sim rehearse -f mesh.yaml --from live',
      'arctic sim rehearse -f mesh.yaml --flow-log /var/log/arctic/agent.log'
    ],
    run: null
  }
]
