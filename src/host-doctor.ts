import { readAgentConfig, type AgentConfig } from './config.ts'
import { fail, type Check } from './dataplane/doctor/check.ts'
import { examineHost, type Examined } from './dataplane/doctor/examine.ts'
import { ArcticError } from './errors.ts'

/** What `arctic doctor` finds on a host where no agent runs, for the agent that its configuration describes. */
export async function examineThisHost(environment: NodeJS.ProcessEnv): Promise<Check[]> {
  try {
    const config = readAgentConfig([], environment)
    const { stateDir, dataplane } = config
    return await examineHost({ stateDir, kernel: dataplane === 'kernel', ports: portsOf(config) })
  } catch (error) {
    if (!(error instanceof ArcticError)) throw error
    const [found = '', mend = 'correct it'] = error.message.split('; ')
    return [fail('configuration', found, mend)]
  }
}

/** Where an agent listens: the mesh, Pegasus and Tempest at one number, Pegasus over KCP at the next. */
function portsOf({ meshListen, dataListen, dataplane }: AgentConfig): Examined['ports'] {
  const mesh = meshListen.flatMap((address) => {
    const [, family, host, , port] = address.split('/')
    return port === '0'
      ? []
      : [
          {
            address: family === 'ip6' ? `[${host}]:${port}` : `${host}:${port}`,
            protocol: 'tcp' as const,
            flag: 'mesh-listen'
          }
        ]
  })
  if (dataplane === 'none') return mesh
  const at = dataListen.lastIndexOf(':')
  const next = `${dataListen.slice(0, at)}:${Number(dataListen.slice(at + 1)) + 1}`
  const data = [
    { address: dataListen, protocol: 'tcp' },
    { address: dataListen, protocol: 'udp' },
    { address: next, protocol: 'udp' }
  ] as const
  return [...mesh, ...data.map((port) => ({ ...port, flag: 'data-listen' }))]
}
