import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { parse as parseYaml } from 'yaml'
import { InvalidRequestError } from './errors.ts'
import { readLicenseKey } from './license.ts'
import { dataPort, drainTimeoutMs, keyMaxAgeMs, keyOverlapMs, meshPort, nameLengthMax } from './limits.ts'
import { LOG_LEVELS, type LogFormat, type LogLevel } from './log.ts'
import { utf8Text } from './utf8.ts'

/**
 * What an agent is told at start, from four places: flag > environment > config file > default. One table says for each
 * setting what it is called in each of them and how its text becomes a value, so that no place can know a setting that
 * another does not.
 */
export interface AgentConfig {
  configFile: string | null
  stateDir: string
  socket: string
  /** null: off. */
  apiListen: string | null
  /** Files of the API's certificate and its key; both null: one of its own where it needs one. */
  apiCert: string | null
  apiKey: string | null
  /** Plain HTTP even beyond loopback. */
  apiPlain: boolean
  meshListen: string[]
  dataListen: string
  advertise: string[]
  name: string
  dataplane: 'kernel' | 'none'
  /** Whether what this peer sends over KCP makes room for others' traffic. */
  kcpCongestionControl: boolean
  logLevel: LogLevel
  logFormat: LogFormat
  drainMs: number
  /** Data-plane keys of this age are changed; null: never by age. */
  keyMaxAgeMs: number | null
  /** For so long the keys before a change stay good. */
  keyOverlapMs: number
  /** null: `license.json` in the state directory, if there is one. */
  license: string | null
  /** Of its issuer, raw Ed25519 in base64. */
  licenseKey: string | null
}

export const DEFAULT_CONFIG_FILE = '/etc/arctic/agent.yaml'

interface Setting<T> {
  flag: string
  environment: string
  /** Key in the config file. */
  key: string
  /** Given several times as a flag, comma-separated in the environment, a list in the file. */
  repeatable?: true
  /** `--FLAG` alone switches it on. */
  toggle?: true
  read: (text: string, where: string) => T
  fallback: (context: { terminal: boolean }) => T
}

/** Of a key that is none, in a message. */
const SHOWN_MAX = 80

const SETTINGS = {
  stateDir: text(
    'state-dir',
    'ARCTIC_STATE_DIR',
    (value) => resolve(value),
    () => '/var/lib/arctic'
  ),
  socket: text(
    'socket',
    'ARCTIC_SOCKET',
    (value) => resolve(value),
    () => '/run/arctic/agent.sock'
  ),
  apiListen: text<string | null>(
    'api-listen',
    'ARCTIC_API_LISTEN',
    (value, where) => (value === 'off' ? null : hostPort(value, where)),
    () => '127.0.0.1:8080'
  ),
  apiCert: text<string | null>(
    'api-cert',
    'ARCTIC_API_CERT',
    (value) => resolve(value),
    () => null
  ),
  apiKey: text<string | null>(
    'api-key',
    'ARCTIC_API_KEY',
    (value) => resolve(value),
    () => null
  ),
  apiPlain: { ...text('api-plain', 'ARCTIC_API_PLAIN', onOff, () => false), toggle: true },
  meshListen: {
    ...text('mesh-listen', 'ARCTIC_MESH_LISTEN', multiaddr, () => `/ip4/0.0.0.0/tcp/${meshPort}`),
    repeatable: true
  },
  dataListen: text('data-listen', 'ARCTIC_DATA_LISTEN', hostPort, () => `0.0.0.0:${dataPort}`),
  advertise: { ...text('advertise', 'ARCTIC_ADVERTISE', host, () => ''), repeatable: true },
  name: text('name', 'ARCTIC_NAME', peerName, () => peerName(hostname(), "this host's name")),
  dataplane: text('dataplane', 'ARCTIC_DATAPLANE', oneOf('kernel', 'none'), () => 'kernel'),
  kcpCongestionControl: text('kcp-congestion-control', 'ARCTIC_KCP_CONGESTION_CONTROL', onOff, () => true),
  logLevel: text('log-level', 'ARCTIC_LOG_LEVEL', oneOf(...LOG_LEVELS), () => 'info'),
  logFormat: text('log-format', 'ARCTIC_LOG_FORMAT', oneOf('json', 'pretty'), ({ terminal }) =>
    terminal ? 'pretty' : 'json'
  ),
  drainMs: text('drain-timeout', 'ARCTIC_DRAIN_TIMEOUT', duration, () => drainTimeoutMs),
  keyMaxAgeMs: text<number | null>(
    'key-max-age',
    'ARCTIC_KEY_MAX_AGE',
    (value, where) => (value === 'off' ? null : duration(value, where)),
    () => keyMaxAgeMs
  ),
  keyOverlapMs: text('key-overlap', 'ARCTIC_KEY_OVERLAP', duration, () => keyOverlapMs),
  license: text<string | null>(
    'license',
    'ARCTIC_LICENSE',
    (value) => resolve(value),
    () => null
  ),
  licenseKey: text<string | null>(
    'license-key',
    'ARCTIC_LICENSE_KEY',
    (value, where) => Buffer.from(readLicenseKey(value, where)).toString('base64'),
    () => null
  )
} as const satisfies Record<string, Setting<unknown>>

/**
 * Reads the agent's configuration. Touches nothing but the config file.
 * Throws InvalidRequestError naming the place (flag, variable, file key) and what would be right.
 */
export function readAgentConfig(
  argv: string[],
  environment: NodeJS.ProcessEnv,
  { terminal = process.stderr.isTTY } = {}
): AgentConfig {
  const flags = readFlags(argv)
  const named = (flags['config'] as string | undefined) ?? environment['ARCTIC_CONFIG']
  const file = readFile(named ?? DEFAULT_CONFIG_FILE, named != null)
  const values: Record<string, unknown> = { configFile: file == null ? null : (named ?? DEFAULT_CONFIG_FILE) }
  for (const [property, entry] of Object.entries(SETTINGS)) {
    const setting = entry as Setting<unknown>
    const found = lookUp(setting, flags, environment, file)
    if (found == null) {
      const fallback = setting.fallback({ terminal })
      values[property] = setting.repeatable === true ? (fallback === '' ? [] : [fallback]) : fallback
    } else {
      const read = found.texts.map((value) => setting.read(value, found.where))
      values[property] = setting.repeatable === true ? read : read.at(-1)
    }
  }
  const config = values as unknown as AgentConfig
  if ((config.apiCert == null) !== (config.apiKey == null)) {
    const [given, missing] = config.apiCert == null ? ['key', 'cert'] : ['cert', 'key']
    throw new InvalidRequestError(
      `--api-${given} needs --api-${missing} too; give both, or neither for a certificate of its own`
    )
  }
  if (config.keyMaxAgeMs != null && config.keyMaxAgeMs <= config.keyOverlapMs) {
    throw new InvalidRequestError(
      '--key-max-age must be longer than --key-overlap: keys would be changed again before the change is over'
    )
  }
  return config
}

function readFlags(argv: string[]): Record<string, string | string[] | undefined> {
  const options: Record<string, { type: 'string' | 'boolean'; multiple?: boolean }> = { config: { type: 'string' } }
  for (const setting of Object.values(SETTINGS)) {
    options[setting.flag] =
      'toggle' in setting ? { type: 'boolean' } : { type: 'string', multiple: 'repeatable' in setting }
  }
  try {
    const { values } = parseArgs({ args: argv, options, strict: true, allowPositionals: false })
    return Object.fromEntries(
      Object.entries(values).map(([flag, value]) => [flag, value === true ? 'on' : (value as string | string[])])
    )
  } catch (error) {
    const why = (error as Error).message.split(/\.\s/)[0]!
    throw new InvalidRequestError(`${why}; see "arctic agent --help"`)
  }
}

function readFile(path: string, required: boolean): Record<string, unknown> | null {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new InvalidRequestError(
      `config file ${path} cannot be read (${(error as NodeJS.ErrnoException).code}); name another one with --config`
    )
  }
  const source = utf8Text(bytes)
  if (source == null) throw new InvalidRequestError(`config file ${path} is not UTF-8; save it so`)
  let content: unknown
  try {
    content = parseYaml(source, { logLevel: 'error' })
  } catch (error) {
    if ((error as { code?: string }).code === 'MULTIPLE_DOCS') {
      throw new InvalidRequestError(`config file ${path} holds several documents; keep one`)
    }
    throw new InvalidRequestError(`config file ${path} is not YAML: ${(error as Error).message.split('\n')[0]}`)
  }
  if (content == null) return {}
  if (typeof content !== 'object' || Array.isArray(content))
    throw new InvalidRequestError(`config file ${path} must hold "key: value" lines`)
  const known = new Set(Object.values(SETTINGS).map((setting) => setting.key))
  for (const key of Object.keys(content)) {
    if (!known.has(key))
      throw new InvalidRequestError(
        // A key may be a whole list, which YAML writes in several lines.
        `config file ${path} has an unknown key ${JSON.stringify(key.slice(0, SHOWN_MAX))}; known are ${[...known].join(', ')}`
      )
  }
  return content as Record<string, unknown>
}

function lookUp(
  setting: Setting<unknown>,
  flags: Record<string, string | string[] | undefined>,
  environment: NodeJS.ProcessEnv,
  file: Record<string, unknown> | null
): { texts: string[]; where: string } | null {
  const flag = flags[setting.flag]
  if (flag != null) return { texts: [flag].flat(), where: `--${setting.flag}` }
  const variable = environment[setting.environment]
  if (variable != null && variable !== '') {
    return {
      texts: setting.repeatable === true ? variable.split(',').map((part) => part.trim()) : [variable],
      where: setting.environment
    }
  }
  const value = file?.[setting.key]
  if (value == null) return null
  const where = `config file key ${setting.key}`
  if (Array.isArray(value) && setting.repeatable !== true) {
    throw new InvalidRequestError(`${where} takes one value, not a list`)
  }
  return { texts: [value].flat().map((one) => textOf(one, where)), where }
}

function textOf(value: unknown, where: string): string {
  if (value == null || typeof value === 'object') {
    throw new InvalidRequestError(`${where} must be a word or a number; put quotes around what is neither`)
  }
  // YAML reads `off` as text but `false` as a boolean; both switch a listener off.
  if (value === false) return 'off'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function text<T>(
  flag: string,
  environment: string,
  read: Setting<T>['read'],
  fallback: Setting<T>['fallback']
): Setting<T> {
  return { flag, environment, key: flag.replaceAll('-', '_'), read, fallback }
}

function hostPort(value: string, where: string): string {
  const port = Number(/^(?:\[[0-9a-fA-F:.]+\]|[^:[\]]+):(\d{1,5})$/.exec(value)?.[1])
  if (!(port >= 0 && port <= 65_535)) {
    throw new InvalidRequestError(
      `${where} "${value}" is not HOST:PORT; write for example 127.0.0.1:8080 or [::1]:8080`
    )
  }
  return value
}

function multiaddr(value: string, where: string): string {
  if (!/^\/(ip4|ip6)\/[^/]+\/tcp\/\d{1,5}$/.test(value)) {
    throw new InvalidRequestError(
      `${where} "${value}" is not a TCP multiaddr; write for example /ip4/0.0.0.0/tcp/${meshPort}`
    )
  }
  return value
}

function host(value: string, where: string): string {
  if (!/^[0-9A-Za-z.:-]+$/.test(value)) {
    throw new InvalidRequestError(`${where} "${value}" is not a host; give an IP address that other peers can reach`)
  }
  return value
}

function peerName(value: string, where: string): string {
  // What the cluster would refuse is refused here, not when the agent founds or joins one; see checkName in crdt/validate.
  const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S}]+$/u.test(value)
  if (!printable || value.length > nameLengthMax) {
    throw new InvalidRequestError(
      `${where} "${value}" is not a peer name; use 1 to ${nameLengthMax} characters without blanks${hintOf(where)}`
    )
  }
  if (value.startsWith('12D3Koo')) {
    throw new InvalidRequestError(`${where} "${value}" looks like a peer id; choose another name${hintOf(where)}`)
  }
  return value
}

const hintOf = (where: string): string => (where.startsWith('this host') ? ', with --name' : '')

function oneOf<T extends string>(...choices: T[]): Setting<T>['read'] {
  return (value, where) => {
    if ((choices as string[]).includes(value)) return value as T
    throw new InvalidRequestError(`${where} "${value}" is not one of ${choices.join(', ')}`)
  }
}

function onOff(value: string, where: string): boolean {
  if (['on', 'true', 'yes', '1'].includes(value)) return true
  if (['off', 'false', 'no', '0'].includes(value)) return false
  throw new InvalidRequestError(`${where} "${value}" is not one of on, off`)
}

function duration(value: string, where: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(value)
  if (match == null)
    throw new InvalidRequestError(`${where} "${value}" is not a duration; write for example 500ms, 10s or 2m`)
  return (
    Number(match[1]) *
    { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 'ms' | 's' | 'm' | 'h' | 'd']
  )
}
