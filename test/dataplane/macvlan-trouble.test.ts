import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { macvlanTrouble } from '../../src/dataplane/macvlan-trouble.ts'

describe('where a MACVLAN device can be made but will see nothing', () => {
  let sys: string
  beforeEach(() => {
    sys = mkdtempSync(join(tmpdir(), 'arctic-sys-'))
    mkdirSync(join(sys, 'class/dmi/id'), { recursive: true })
    mkdirSync(join(sys, 'class/net/eth0'), { recursive: true })
    mkdirSync(join(sys, 'class/net/wlan0/phy80211'), { recursive: true })
  })
  afterEach(() => rmSync(sys, { recursive: true }))

  const maker = (name: string): void => writeFileSync(join(sys, 'class/dmi/id/sys_vendor'), `${name}\n`)

  it('on Wi-Fi the access point is named', async () => {
    assert.match((await macvlanTrouble('wlan0', sys))?.message ?? '', /wlan0, a Wi-Fi interface.*access point/)
  })

  it('in a cloud the cloud is', async () => {
    maker('Amazon EC2')
    assert.match((await macvlanTrouble('eth0', sys))?.message ?? '', /eth0, in a cloud.*Amazon EC2/)
  })

  it('nothing is said of a machine of one’s own, or of one that does not say what it is', async () => {
    assert.equal(await macvlanTrouble('eth0', sys), null)
    maker('Dell Inc.')
    assert.equal(await macvlanTrouble('eth0', sys), null)
  })
})
