import { onnxruntimePeer } from './onnxruntime'
import type { Peer, PeerName } from './peer'
import { torchPeer } from './torch'

/** Loads a peer; throws CommandError with what to install where it is not there. */
export function openPeer(name: PeerName): Peer {
  return name === 'onnxruntime' ? onnxruntimePeer() : torchPeer()
}
