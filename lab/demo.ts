/**
 * `npm run demo`: the main job on hosts of this machine, told step by step. Exits 0 only when every step held.
 *
 *   npm run demo                  run it, clean up
 *   npm run demo -- --keep        leave hosts, agents and the service up, and say how to enter them
 *   npm run demo -- --remove      remove what --keep left
 */
import { parseArgs } from 'node:util'
import { Capture } from './capture.ts'
import { carry, startServers, type Carried } from './demo/carry.ts'
import { connectSites, formCluster, showNothingPasses, startAgents } from './demo/connect.ts'
import { showWhatWasSeen } from './demo/evidence.ts'
import { deleteService, stopAgents } from './demo/leave.ts'
import { sayHowToEnter, stay } from './demo/keep.ts'
import { addOthersSettings, type Stage } from './demo/stage.ts'
import { Lab } from './lab.ts'
import { removeRun, runs } from './leftovers.ts'
import { Peer } from './peer.ts'
import { ensurePrivilege, missingPrograms } from './privileges.ts'
import { settledSnapshot, snapshotHost } from './snapshot.ts'
import { Story } from './story.ts'
import { twoSites } from './topology.ts'
import { timed } from './wait.ts'

const PREFIX = 'arctic-demo'

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean' }, remove: { type: 'boolean' } } })
  ensurePrivilege()
  const [missing] = missingPrograms()
  if (missing != null) throw new Error(missing)
  if (values.remove === true) return removeKept()

  const lab = await Lab.create({ prefix: PREFIX })
  try {
    const story = new Story()
    const { ms, result: held } = await timed(() => tell(lab, story, values.keep === true))
    const seconds = (ms / 1000).toFixed(1)
    story.say(held ? `All steps held, in ${seconds} s.` : `${story.failed} steps failed, in ${seconds} s.`)
    if (values.keep === true) {
      sayHowToEnter(lab, story)
      await stay(lab)
    }
    return held ? 0 : 1
  } finally {
    lab.close()
  }
}

/** The story of the README, in its order. What later steps stand on ends it when it fails; the others are all told. */
async function tell(lab: Lab, story: Story, keep: boolean): Promise<boolean> {
  story.say('client 10.1.0.2 ── edge-a ══════ wire ══════ edge-b ── server 10.2.0.2')
  story.say('       fd00:1::2                                          fd00:2::2')
  story.say()
  const sites = await twoSites(lab)
  for (const edge of [sites.edgeA, sites.edgeB]) await addOthersSettings(edge)
  const servers = await startServers(sites.server)
  const stage: Stage = {
    sites,
    servers,
    a: new Peer(sites.edgeA),
    b: new Peer(sites.edgeB),
    untouched: { a: await snapshotHost(sites.edgeA), b: await snapshotHost(sites.edgeB) }
  }

  const told =
    (await story.step('Without the mesh nothing passes', (e) => showNothingPasses(stage, e))) &&
    (await story.step('Two agents start, each on its host', (e) => startAgents(stage, e))) &&
    (await story.step('One invite makes them a cluster', (e) => formCluster(stage, e)))
  if (!told) return false

  const [restA, restB] = await Promise.all([settledSnapshot(sites.edgeA), settledSnapshot(sites.edgeB)])
  const beforeService = { a: restA, b: restB }
  let serviceId = ''
  const connected = await story.step('A service made on edge-b takes effect on edge-a', async (e) => {
    serviceId = await connectSites(stage, e)
  })
  if (!connected) return false

  const wire = await Capture.start(sites.edgeA, 'wire0')
  let carried: Carried | null = null
  await story.step("The client's traffic is carried, the client untouched", async (e) => {
    carried = await carry(stage, e)
  })
  await story.step('What the hosts saw of it', async (e) => {
    if (carried == null) throw new Error('nothing was carried')
    await showWhatWasSeen(stage, serviceId, wire, carried, e)
  })
  if (keep) return story.failed === 0

  await story.step('services delete: nothing is carried, nothing of it is left', (e) =>
    deleteService(stage, serviceId, beforeService, e)
  )
  await story.step('SIGTERM: nothing of ours is left at all', (e) => stopAgents(stage, e))
  return story.failed === 0
}

function removeKept(): number {
  const kept = runs(PREFIX).filter((run) => run.kept || !run.lives)
  for (const { runId } of kept) removeRun(runId)
  process.stdout.write(
    `${kept.length === 0 ? 'nothing was kept' : `removed ${kept.map(({ runId }) => runId).join(', ')}`}\n`
  )
  return 0
}

try {
  process.exitCode = await main()
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
