import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const target = join(dirname(fileURLToPath(import.meta.url)), '../../../engines/target')

/** Where both engines have been built, or null. */
export function builtEngines(): string | null {
  const found = ['release', 'debug'].find((profile) =>
    ['pegasus', 'tempest'].every((name) => existsSync(join(target, profile, name)))
  )
  return found == null ? null : join(target, found)
}

/** A mocha hook for suites that need the real engines. */
export function needsEngines(this: Mocha.Context): void {
  if (builtEngines() != null) return
  if (process.env['CI'] != null) throw new Error('this test needs the engines; run "npm run setup"')
  console.error('      skipped: needs the engines built')
  this.skip()
}

/** An X25519 pair as the engines and the peer records hold it: 32 bytes each, base64. */
export function keyPair(): { privateKey: string; publicKey: string } {
  const { privateKey } = generateKeyPairSync('x25519')
  const raw = (part: string | undefined): string => Buffer.from(part ?? '', 'base64url').toString('base64')
  return {
    privateKey: raw(privateKey.export({ format: 'jwk' }).d),
    publicKey: raw(
      createPublicKey(createPrivateKey(privateKey.export({ format: 'pem', type: 'pkcs8' }))).export({ format: 'jwk' }).x
    )
  }
}
