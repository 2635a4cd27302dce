import { readFileSync } from 'node:fs'
import { createRequire, getCompileCacheDir } from 'node:module'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'
import { CodeCache } from './code-cache.ts'

/** Fastify takes it in for servers of which we have none: 10 ms of CPU. */
const HTTP2 = 'node:http2'

/**
 * A program of the bundle in scripts: each of its files is handed to V8 with what was compiled of it before (`code-cache.ts`), which is
 * kept beside Node's own compile cache, by the program's name.
 */
export class KeptProgram {
  readonly #folder: string
  /** null where nothing is to be kept, or cannot be. */
  readonly #path: string | null
  #known: CodeCache | null
  readonly #loaded = new Map<string, { script: Script; checksum: number; module: { exports: unknown } }>()
  #isKnown = true

  constructor(name: string, folder: string) {
    const compileCache = getCompileCacheDir()
    this.#folder = folder
    this.#path = compileCache == null ? null : join(compileCache, `${name}.code`)
    this.#known = this.#path == null ? null : CodeCache.read(this.#path)
  }

  /** What a file exports, loaded as Node's own `require` would. */
  load(name: string): unknown {
    const before = this.#loaded.get(name)
    if (before != null) return before.module.exports
    const filename = join(this.#folder, name)
    const bytes = readFileSync(filename)
    const checksum = crc32(bytes)
    const cachedData = this.#known?.of(name, checksum)
    // All of it is ASCII (`tools/bundle.ts`).
    const text = `(function (exports, require, module, __filename, __dirname) { ${bytes.toString('latin1')}\n})`
    const script = new Script(text, { filename, ...(cachedData == null ? {} : { cachedData }) })
    if (script.cachedDataRejected !== false) this.#isKnown = false
    const module = { exports: {} }
    this.#loaded.set(name, { script, checksum, module })
    const outside = createRequire(filename)
    const require = (id: string): unknown => {
      if (id === HTTP2)
        return new Proxy({}, { get: (_, key) => (outside(HTTP2) as Record<string | symbol, unknown>)[key] })
      return id.startsWith('./') ? this.load(id.slice(2)) : outside(id)
    }
    const run = script.runInThisContext() as (...args: unknown[]) => void
    run(module.exports, Object.assign(require, outside), module, filename, this.#folder)
    return module.exports
  }

  /**
   * Keeps what is compiled by now for the next start, unless that is there already. `isWhole`: the program has done all that one may
   * have to do. Takes some 50 ms, once for each build.
   */
  keep(isWhole: boolean): void {
    const isEnough = this.#isKnown && (this.#known?.isWhole === true || !isWhole)
    // Some megabytes; what is loaded from now on is compiled.
    this.#known = null
    if (this.#path == null || isEnough) return
    const files = Array.from(this.#loaded, ([name, { script, checksum }]) => ({
      name,
      checksum,
      code: script.createCachedData()
    }))
    try {
      CodeCache.write(this.#path, files, isWhole)
    } catch {
      // A disk that is full, or a folder that is somebody else's: the next start compiles again.
    }
  }
}
