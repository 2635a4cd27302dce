import { StreamState, YamuxStream } from '@libp2p/yamux/stream'

/**
 * Has yamux grant its peers more window only when half of it is used up, as other implementations do. By itself it answers
 * each message with a window update, which doubles what a connection of small messages sends and receives.
 */
export function grantWindowsByHalves(): void {
  const { prototype } = YamuxStream
  if (prototype.sendWindowUpdate === byHalves) return
  original = prototype.sendWindowUpdate
  prototype.sendWindowUpdate = byHalves
}

let original: () => void = () => {}

function byHalves(this: YamuxStream): void {
  // What opens a stream is a window update too; only of an open one it can be left out.
  const isOpen = this.state === StreamState.Established || this.state === StreamState.SYNSent
  const { recvWindow, recvWindowCapacity } = this as unknown as Windows
  if (isOpen && recvWindowCapacity > recvWindow / 2) return
  original.call(this)
}

/** What yamux keeps to itself, bytes: the window that it has granted in full, and what is left of it. */
interface Windows {
  recvWindow: number
  recvWindowCapacity: number
}
