import { deepEqual, equal, match, notEqual, rejects } from 'node:assert/strict'
import { createPrivateKey, createPublicKey, diffieHellman } from 'node:crypto'
import { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { publicKeyOf, verify } from '../../src/crdt/signer.ts'
import { openIdentity } from '../../src/mesh/identity.ts'
import { systemRandom } from '../../src/random.ts'
import { temporaryDirectory } from './support.ts'

describe('identity', () => {
  it('is made once, readable by the owner alone, and is the same at every start', async () => {
    await using dir = await temporaryDirectory()
    const stateDir = join(dir.path, 'deeper', 'state')
    const first = await openIdentity(stateDir, systemRandom)
    const second = await openIdentity(stateDir, systemRandom)
    equal(second.peerId, first.peerId)
    deepEqual([second.pegasus, second.tempest], [first.pegasus, first.tempest])
    equal((await stat(join(stateDir, 'identity'))).mode & 0o777, 0o600)
    deepEqual(await readdir(stateDir), ['identity'])
    notEqual(first.pegasus.privateKey, first.tempest.privateKey)
  })

  it('is one identity for libp2p and for signatures', async () => {
    await using dir = await temporaryDirectory()
    const { peerId, privateKey, signer } = await openIdentity(dir.path, systemRandom)
    equal(peerIdFromPrivateKey(privateKey).toString(), peerId)
    equal(signer.peerId, peerId)
    const data = Buffer.from('a change')
    equal(verify(publicKeyOf(peerId)!, data, signer.sign(data)), true)
  })

  it('has X25519 pairs whose halves belong together', async () => {
    await using dir = await temporaryDirectory()
    const { pegasus, tempest } = await openIdentity(dir.path, systemRandom)
    const jwk = { kty: 'OKP', crv: 'X25519' }
    const url = (text: string): string => Buffer.from(text, 'base64').toString('base64url')
    const publicOf = (pair: typeof pegasus) =>
      createPublicKey({ key: { ...jwk, x: url(pair.publicKey) }, format: 'jwk' })
    const privateOf = (pair: typeof pegasus) =>
      createPrivateKey({ key: { ...jwk, x: url(pair.publicKey), d: url(pair.privateKey) }, format: 'jwk' })
    deepEqual(
      diffieHellman({ privateKey: privateOf(pegasus), publicKey: publicOf(tempest) }),
      diffieHellman({ privateKey: privateOf(tempest), publicKey: publicOf(pegasus) })
    )
  })

  it('is the same for two agents that start at once', async () => {
    await using dir = await temporaryDirectory()
    const all = await Promise.all(Array.from({ length: 2 }, () => openIdentity(dir.path, systemRandom)))
    equal(new Set(all.map((one) => one.peerId)).size, 1)
  })

  for (const [name, change, message] of [
    ['open to the group', (path: string) => chmod(path, 0o640), /mode 640.*chmod 600/],
    ['of a newer format', (path: string) => writeFile(path, '{"version":2}'), /newer arctic.*upgrade/],
    ['cut short', async (path: string) => writeFile(path, (await readFile(path)).subarray(0, 60)), /not JSON.*backup/],
    ['without a key', (path: string) => writeFile(path, '{"version":1,"peer_seed":"AAAA"}'), /peer_seed is not a key/],
    ['no object', (path: string) => writeFile(path, 'null'), /no object/]
  ] as const) {
    it(`is refused when the file is ${name}, saying how to mend it`, async () => {
      await using dir = await temporaryDirectory()
      await openIdentity(dir.path, systemRandom)
      await change(join(dir.path, 'identity'))
      await rejects(openIdentity(dir.path, systemRandom), (error: { code: string; message: string }) => {
        equal(error.code, 'invalid_request')
        match(error.message, message)
        return true
      })
    })
  }

  it('is refused when it is a link, or the directory cannot be made', async () => {
    await using dir = await temporaryDirectory()
    await symlink('/dev/null', join(dir.path, 'identity'))
    await rejects(openIdentity(dir.path, systemRandom), { code: 'invalid_request' })
    await rejects(openIdentity('/dev/null/state', systemRandom), { code: 'unavailable' })
  })
})
