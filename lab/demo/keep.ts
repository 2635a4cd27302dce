import type { Lab } from '../lab.ts'
import { insideUserNamespace } from '../privileges.ts'
import type { Story } from '../story.ts'

/** `--keep`: how to walk around in what was built, and how to be rid of it. */
export function sayHowToEnter(lab: Lab, story: Story): void {
  const inside = insideUserNamespace()
  story.say()
  story.say('The hosts stay up. Enter one:')
  for (const host of lab.hosts.values()) {
    const enter = inside ? `nsenter -t ${process.pid} -U -m -n --preserve-credentials ` : ''
    story.say(`  ${host.name.padEnd(8)} ${enter}ip netns exec ${host.namespace} bash`)
  }
  story.say('Ask an agent:')
  story.say(`  bin/arctic --socket ${lab.directory}/edge-a/agent.sock status`)
  story.say(`Logs: ${lab.directory}`)
  story.say(inside ? 'Remove everything: Ctrl-C here.' : 'Remove everything: npm run demo -- --remove')
}

/** Real hosts outlive this process. Those in a user namespace do not: there it waits for Ctrl-C. */
export async function stay(lab: Lab): Promise<void> {
  if (!insideUserNamespace()) {
    lab.keep()
    return
  }
  // A pending promise alone does not keep a process alive.
  setInterval(() => {}, 60_000)
  await new Promise(() => {})
}
