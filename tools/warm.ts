/**
 * Has an agent of the bundle start once as agents do after a crash, in a cluster, with a data plane and a log to read, and keeps what V8
 * has compiled for it (`src/code-cache.ts`): the first start on this machine is as fast as all others. Two hosts of the lab, ten
 * seconds. What it cannot do here, agents do by themselves with their second start.
 */
import { existsSync, globSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { askApi } from '../lab/api.ts'
import { Lab } from '../lab/lab.ts'
import { cluster, Peer } from '../lab/peer.ts'
import { privilege } from '../lab/privileges.ts'
import { until } from '../lab/wait.ts'
import type { ServiceJson } from '../src/actors/operator/operator.ts'
import { CodeCache } from '../src/code-cache.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const bundle = `${root}dist/main.js`
/** Services and routes whose history is read at the start: as many as make V8 optimize what reads it. */
const [SERVICES, ROUTES] = [5, 40]
const patience = { timeoutMs: 60_000 }

const isDone = (): boolean =>
  globSync(`${root}node_modules/.cache/arctic/*/agent.code`).some(
    (path) => statSync(path).mtimeMs > statSync(bundle).mtimeMs && CodeCache.read(path).isWhole
  )

async function warm(): Promise<void> {
  const lab = await Lab.create({ prefix: 'arctic-warm' })
  try {
    const [here, there] = [await lab.host('here'), await lab.host('there')]
    const end = (host: typeof here, n: number) => ({ host, device: 'eth0', addresses: [`10.9.0.${n}/24`] })
    await lab.wire(end(here, 1), end(there, 2))
    const [a, b] = [new Peer(here), new Peer(there)]
    await Promise.all([a.start(), b.start()])
    await cluster(a, b)
    for (let n = 0; n < SERVICES; n++) await service(a, n)
    await b.end('SIGKILL')
    const missed = await service(a, SERVICES)
    await b.start()
    await until('what was written meanwhile to be there', async () => (await b.service(missed.id)) != null, patience)
    await until('what is compiled to be kept', isDone, patience)
  } finally {
    lab.close()
  }
}

async function service(by: Peer, n: number): Promise<ServiceJson> {
  const made = (await askApi(by.socket, 'POST', '/v1/services', { name: `s${n}`, target_peer_id: 'there' }))
    .body as ServiceJson
  for (let i = 0; i < ROUTES; i++) {
    await askApi(by.socket, 'POST', `/v1/services/${made.id}/routes`, {
      routes: [{ dest_cidr: `10.${20 + n}.${i}.0/24` }]
    })
  }
  return made
}

// Others than root have their own hosts, and with them another folder for what is compiled.
if (existsSync(bundle) && !isDone() && privilege().kind === 'root') await warm()
