import type { Command } from '../command.ts'

/** `arctic agent` is run by src/main.ts before this client is loaded; it is here so that help knows it. */
export const agentCommands: readonly Command[] = [
  {
    words: ['agent'],
    summary: 'Run the agent of this host in the foreground',
    flags: [
      {
        name: 'config',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'config file (/etc/arctic/agent.yaml; ARCTIC_CONFIG)'
      },
      {
        name: 'state-dir',
        kind: 'text',
        placeholder: 'DIR',
        live: 'file',
        help: 'identity and replicated state (/var/lib/arctic; ARCTIC_STATE_DIR)'
      },
      {
        name: 'socket',
        kind: 'text',
        placeholder: 'PATH',
        live: 'file',
        help: 'local API; whoever can open it is admin (/run/arctic/agent.sock; ARCTIC_SOCKET)'
      },
      {
        name: 'api-listen',
        kind: 'text',
        placeholder: 'HOST:PORT',
        help: 'remote API, or off (127.0.0.1:8080; ARCTIC_API_LISTEN)'
      },
      {
        name: 'api-cert',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'PEM certificate of the remote API, with --api-key; without, beyond loopback, one of its own (ARCTIC_API_CERT)'
      },
      {
        name: 'api-key',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'PEM key of that certificate (ARCTIC_API_KEY)'
      },
      { name: 'api-plain', kind: 'boolean', help: 'plain HTTP even beyond loopback (ARCTIC_API_PLAIN)' },
      {
        name: 'mesh-listen',
        kind: 'text',
        placeholder: 'MULTIADDR',
        help: 'libp2p, repeatable (/ip4/0.0.0.0/tcp/7946; ARCTIC_MESH_LISTEN)'
      },
      {
        name: 'data-listen',
        kind: 'text',
        placeholder: 'HOST:PORT',
        help: 'Pegasus on TCP, Tempest on UDP (0.0.0.0:7947; ARCTIC_DATA_LISTEN)'
      },
      {
        name: 'advertise',
        kind: 'text',
        placeholder: 'HOST',
        help: "what other peers dial, repeatable (the interfaces' addresses; ARCTIC_ADVERTISE)"
      },
      { name: 'name', kind: 'text', placeholder: 'NAME', help: "this peer's name (hostname; ARCTIC_NAME)" },
      {
        name: 'dataplane',
        kind: ['kernel', 'none'],
        help: 'none: control plane only, needs no privileges (kernel; ARCTIC_DATAPLANE)'
      },
      {
        name: 'kcp-congestion-control',
        kind: ['on', 'off'],
        help: 'off: what this peer sends over KCP makes no room for others (on; ARCTIC_KCP_CONGESTION_CONTROL)'
      },
      {
        name: 'drain-timeout',
        kind: 'text',
        placeholder: 'DURATION',
        help: 'how long flows may go on after SIGTERM (10s; ARCTIC_DRAIN_TIMEOUT)'
      },
      {
        name: 'key-max-age',
        kind: 'text',
        placeholder: 'DURATION',
        help: 'data-plane keys of this age are changed; off: never by age (30d; ARCTIC_KEY_MAX_AGE)'
      },
      {
        name: 'key-overlap',
        kind: 'text',
        placeholder: 'DURATION',
        help: 'for so long the keys before a change stay good (24h; ARCTIC_KEY_OVERLAP)'
      },
      {
        name: 'license',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'signed licence (license.json in the state directory, if there; ARCTIC_LICENSE)'
      },
      {
        name: 'license-key',
        kind: 'text',
        placeholder: 'BASE64',
        help: "its issuer's Ed25519 public key (ARCTIC_LICENSE_KEY)"
      },
      {
        name: 'log-level',
        kind: 'text',
        placeholder: 'LEVEL',
        help: 'trace, debug, info, warn, error (info; ARCTIC_LOG_LEVEL)'
      },
      {
        name: 'log-format',
        kind: ['json', 'pretty'],
        help: 'pretty at a terminal, else json (ARCTIC_LOG_FORMAT)'
      }
    ],
    examples: [
      'arctic agent --name edge-a',
      'arctic agent --dataplane none --state-dir ~/.arctic --socket ~/.arctic/sock'
    ],
    run: null
  }
]
