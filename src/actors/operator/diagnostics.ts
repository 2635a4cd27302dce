import { isoTime } from '../../clock.ts'
import { redact } from '../../redact.ts'
import { diagnosticStepsMax } from '../limits.ts'
import type { TransitionJson } from './actor-json.ts'
import { transitionJson } from './actors.ts'
import type { OperatorDeps } from './deps.ts'

/** What the agent's process and host can tell of themselves; whoever puts the agent together knows how to find out. */
export interface HostDiagnostics {
  /** Settings in force; no secrets among them. */
  config: () => Record<string, unknown>
  /** The log's last lines, oldest first. */
  log: () => string[]
  /** What of ours is in the kernel. */
  traces: () => Promise<Array<{ command: string; output: string }>>
  /** Texts that must never be told, wherever they stand. */
  secrets: readonly string[]
}

/** What a report holds that no other answer does. */
export interface DiagnosticsJson {
  at: string
  versions: Record<string, string>
  config: Record<string, unknown>
  log: string[]
  traces: Array<{ command: string; output: string }>
  /** What the flight recorder holds: the last steps of each actor, also of those that have ended; oldest first. */
  flight: TransitionJson[]
}

export async function diagnosticsOf(
  { recorder, clock, version, dataplane }: Pick<OperatorDeps, 'recorder' | 'clock' | 'version' | 'dataplane'>,
  host: HostDiagnostics
): Promise<DiagnosticsJson> {
  const clean = (text: string): string => redact(text, host.secrets)
  const engines = dataplane.engines().map((engine) => [engine.engine, engine.version ?? 'unknown'] as const)
  return {
    at: isoTime(clock.now()),
    versions: { arctic: version, node: process.version, ...Object.fromEntries(engines) },
    config: JSON.parse(clean(JSON.stringify(host.config()))) as Record<string, unknown>,
    log: host.log().map(clean),
    traces: (await host.traces()).map(({ command, output }) => ({ command, output: clean(output) })),
    flight: recorder
      .all()
      .slice(-diagnosticStepsMax)
      .map((step) => transitionJson({ ...step, reason: step.reason == null ? null : clean(step.reason) }))
  }
}
