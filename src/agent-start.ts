/**
 * What `bin/arctic` starts for `arctic agent` from the bundle, in place of `main.ts`:
 *
 * 1. each file of the program is handed to V8 with what was compiled of it before (`code-cache.ts`);
 * 2. `runAgent` is called;
 * 3. once the start is over, what is compiled by then is kept for the next one, unless that is there already.
 */
import { readFileSync } from 'node:fs'
import { createRequire, getCompileCacheDir } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'
import type { runAgent as RunAgent } from './agent-main.ts'
import { CodeCache } from './code-cache.ts'

const folder = dirname(fileURLToPath(import.meta.url))
const compileCache = getCompileCacheDir()
/** null where nothing is to be kept, or cannot be. */
const path = compileCache == null ? null : join(compileCache, 'agent.code')
let known = path == null ? null : CodeCache.read(path)
const loaded = new Map<string, { script: Script; checksum: number; module: { exports: unknown } }>()
let isKnown = true

/** Fastify takes it in for servers of which we have none: 10 ms of CPU. */
const HTTP2 = 'node:http2'

/** A file of the bundle, as Node's own `require` would load it. */
function load(name: string): unknown {
  const before = loaded.get(name)
  if (before != null) return before.module.exports
  const filename = join(folder, name)
  const bytes = readFileSync(filename)
  const checksum = crc32(bytes)
  const cachedData = known?.of(name, checksum)
  // All of it is ASCII (`tools/bundle.ts`).
  const text = `(function (exports, require, module, __filename, __dirname) { ${bytes.toString('latin1')}\n})`
  const script = new Script(text, { filename, ...(cachedData == null ? {} : { cachedData }) })
  if (script.cachedDataRejected !== false) isKnown = false
  const module = { exports: {} }
  loaded.set(name, { script, checksum, module })
  const outside = createRequire(filename)
  const require = (id: string): unknown => {
    if (id === HTTP2)
      return new Proxy({}, { get: (_, key) => (outside(HTTP2) as Record<string | symbol, unknown>)[key] })
    return id.startsWith('./') ? load(id.slice(2)) : outside(id)
  }
  const run = script.runInThisContext() as (...args: unknown[]) => void
  run(module.exports, Object.assign(require, outside), module, filename, folder)
  return module.exports
}

/** Takes some 50 ms, once for each build. */
function keep(isWhole: boolean): void {
  const isEnough = isKnown && (known?.isWhole === true || !isWhole)
  // Some megabytes; what is loaded from now on is compiled.
  known = null
  if (path == null || isEnough) return
  const files = Array.from(loaded, ([name, { script, checksum }]) => ({
    name,
    checksum,
    code: script.createCachedData()
  }))
  try {
    CodeCache.write(path, files, isWhole)
  } catch {
    // A disk that is full, or a folder that is somebody else's: the next start compiles again.
  }
}

const { runAgent } = load('agent-main.cjs') as { runAgent: typeof RunAgent }
void runAgent(process.argv.slice(3), process.env, { settled: keep }).then((code) => process.exit(code))
