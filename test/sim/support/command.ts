import { runSim } from '../../../sim/main.ts'

/** `arctic sim …` in this process; what it writes is caught. */
export async function arctic(args: string[]): Promise<{ code: number; out: string; err: string }> {
  const written = { out: '', err: '' }
  const { stdout, stderr } = process
  const [out, err] = [stdout.write, stderr.write]
  try {
    stdout.write = (text: unknown) => ((written.out += String(text)), true)
    stderr.write = (text: unknown) => ((written.err += String(text)), true)
    return { code: await runSim(args), ...written }
  } finally {
    stdout.write = out
    stderr.write = err
  }
}
