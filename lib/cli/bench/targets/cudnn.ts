import { performance } from 'node:perf_hooks'
import { devices } from '../../../devices'
import { spreadOf } from '../../compare/spread'
import { checkSame } from '../peers/beside'
import { OursAttention } from '../peers/ours'
import type { AttentionShape, Peer, PeerVariant } from '../peers/peer'
import type { BenchSettings } from '../request'
import type { CudnnTimes } from './report'

export const cudnnOp = 'CUDNN_ATTENTION'
/** A sample is as many calls as take this long; calls for as long before them do not count. */
const sampleSeconds = 0.02
const maxCalls = 1000
const leastRounds = 3

const now = () => performance.now() / 1000

/**
 * Times a shape beside cuDNN's attention by PyTorch, round by round in turn: on both sides calls are enqueued one after the other on tensors
 * that exist, and waited for once, by the host's clock. A text says why there is nothing beside.
 */
export async function besideCudnn(
  peer: Peer, shape: AttentionShape, { device }: Pick<BenchSettings, 'device'>, budget: { readonly rounds: number; readonly seconds: number },
): Promise<CudnnTimes | string> {
  using ours = await OursAttention.create(shape, { device })
  const [variant] = await ours.open(peer, devices.get(device).units, cudnnOp)
  if (variant === undefined) return `${peer.name} has no ${cudnnOp}`
  if ('refused' in variant) return `${cudnnOp}: ${variant.refused}`
  try {
    checkSame(`${peer.name} ${variant.op}`, shape, await variant.run(), await ours.endToEnd())
    return { ...(await inTurns(ours, variant, device, budget)), version: peer.version }
  } finally {
    await variant[Symbol.asyncDispose]()
  }
}

async function inTurns(
  ours: OursAttention, { op, runMany }: PeerVariant, device: BenchSettings['device'],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<Omit<CudnnTimes, 'version'>> {
  if (runMany === undefined) throw new Error(`${op} cannot be timed in rows of calls`)
  const oursMany = async (calls: number) => {
    const began = now()
    for (let call = 0; call < calls; ++call) ours.enqueue()
    await devices.synchronize(device)
    return (now() - began) / calls
  }
  const sampler = async (many: (calls: number) => Promise<number>) => {
    await many(1) // pays for code and memory that nobody touched yet
    const calls = Math.min(maxCalls, Math.max(1, Math.ceil(sampleSeconds / (await many(1)))))
    return async () => {
      await many(calls)
      return await many(calls)
    }
  }
  const [sampleOurs, samplePeer] = [await sampler(oursMany), await sampler(runMany)]
  const deadline = now() + seconds
  const [times, peerTimes]: [number[], number[]] = [[], []]
  while (times.length < rounds && (times.length < leastRounds || now() < deadline)) {
    const first = times.length % 2 === 0 ? await sampleOurs() : NaN
    peerTimes.push(await samplePeer())
    times.push(Number.isNaN(first) ? await sampleOurs() : first)
  }
  return { ours: spreadOf(times), peer: spreadOf(peerTimes), ratio: spreadOf(times.map((time, round) => peerTimes[round]! / time)) }
}
