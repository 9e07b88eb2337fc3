import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { devices } from '../../../devices'
import { Tensor } from '../../../tensor/tensor'
import { CommandError } from '../../command-error'
import { spreadOf } from '../../compare/spread'
import { unitRoundoff } from '../../verify/rounding'
import type { BenchSettings } from '../request'
import { OursAttention, OursLatent, type Ours } from './ours'
import type { AttentionShape, LatentShape, PairedTimes, Peer, PeerReport, PeerVariant, Refusal } from './peer'

/** A sample is as many calls as take this long, after calls that do not count: who had no turn for a while has cold caches and sleeping threads. */
const sampleSeconds = 0.02
const warmSeconds = 0.02
const maxCalls = 400
/** On a machine that is busy with other things a call can take far longer than the first one did: then fewer have to do. */
const mostSampleSeconds = 0.1
/** Threads of the one that had its turn stop spinning meanwhile; without this the other would pay for them. */
const settleMs = 20

const now = () => performance.now() / 1000

/** Times one shape beside a peer until `deadline`, at least three rounds; a text says why it was left out. */
export async function measureBeside(
  peer: Peer, shape: AttentionShape | LatentShape, settings: Pick<BenchSettings, 'device'>, budget: { readonly rounds: number; readonly deadline: number },
): Promise<PeerReport | string> {
  const ours = 'kvLoraRank' in shape ? await OursLatent.create(shape, settings) : await OursAttention.create(shape, settings)
  const opened = await ours.open(peer, devices.get(settings.device).units)
  try {
    const refusals = opened.filter((variant): variant is Refusal => 'refused' in variant)
    const variants = opened.filter((variant): variant is PeerVariant => 'run' in variant)
    const timed: { variant: PeerVariant; seconds: number }[] = []
    for (const variant of variants) {
      checkSame(`${peer.name} ${variant.op}`, shape, await variant.run(), await ours.endToEnd())
      await setTimeout(settleMs)
      const call = variant.outside ? variant.runRecorded : variant.run
      timed.push({ variant, seconds: Math.min(await clocked(call), await clocked(call)) })
    }
    timed.sort((a, b) => a.seconds - b.seconds)
    const [best, ...others] = timed
    if (best === undefined) return refusals.map(({ op, refused }) => `${op}: ${refused}`).join('; ')
    const times = await inTurns(ours, best.variant, best.seconds, budget)
    return {
      name: peer.name, version: peer.version, op: best.variant.op, ...times,
      others: [...others.map(({ variant: { op }, seconds }) => ({ op, seconds })), ...refusals],
    }
  } finally {
    for (const variant of opened) if ('run' in variant) await variant[Symbol.asyncDispose]()
    ours[Symbol.dispose]()
  }
}

async function clocked(run: () => Promise<unknown>): Promise<number> {
  const began = now()
  await run()
  return now() - began
}

/** Rounds of samples in rotating order: ours and the peer's, end to end and kernels alone. */
async function inTurns(
  ours: Ours, variant: PeerVariant, seconds: number, budget: { readonly rounds: number; readonly deadline: number },
): Promise<Pick<PeerReport, 'endToEnd' | 'kernel'>> {
  const calls = Math.min(maxCalls, Math.max(1, Math.ceil(sampleSeconds / seconds)))
  const samples = { endToEnd: { ours: [] as number[], peer: [] as number[] }, kernel: { ours: [] as number[], peer: [] as number[] } }
  const warm = Math.min(maxCalls, Math.ceil(warmSeconds / seconds))
  const repeat = async (run: () => Promise<unknown>, count: number) => {
    const end = now() + mostSampleSeconds
    let done = 0
    do await run(); while (++done < count && now() < end)
    return done
  }
  const sample = async (run: () => Promise<unknown>) => {
    const warmed = await repeat(run, warm)
    const began = now()
    const done = await repeat(run, calls)
    return { seconds: (now() - began) / done, warmed, done }
  }
  await ours.alone()
  const recorded: { readonly warmed: number; readonly done: number }[] = []
  for (let round = 0; round < budget.rounds && (round < 3 || now() < budget.deadline); ++round) {
    const turns = [
      ...(variant.outside ? [] : [
        async () => { samples.endToEnd.ours.push((await sample(() => ours.endToEnd())).seconds) },
        async () => { samples.endToEnd.peer.push((await sample(() => variant.run())).seconds) },
      ]),
      async () => { samples.kernel.ours.push((await sample(() => ours.alone())).seconds) },
      async () => { recorded.push(await sample(() => variant.runRecorded())) },
    ]
    for (let turn = 0; turn < turns.length; ++turn) {
      await turns[(turn + round) % turns.length]!()
      await setTimeout(settleMs)
    }
  }
  // What the peer recorded before the rounds comes first.
  const kernelTimes = await variant.kernelTimes()
  let at = kernelTimes.length - recorded.reduce((sum, { warmed, done }) => sum + warmed + done, 0)
  if (at < 0) throw new CommandError(`${variant.op} recorded ${kernelTimes.length} calls, ${-at} fewer than it made`)
  for (const { warmed, done } of recorded) {
    samples.kernel.peer.push(mean(kernelTimes.slice(at + warmed, at + warmed + done)))
    at += warmed + done
  }
  return { ...(!variant.outside && { endToEnd: paired(samples.endToEnd) }), kernel: paired(samples.kernel) }
}

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, value) => sum + value, 0) / numbers.length
}

function paired({ ours, peer }: { readonly ours: readonly number[]; readonly peer: readonly number[] }): PairedTimes {
  return { ours: spreadOf(ours), peer: spreadOf(peer), ratio: spreadOf(ours.map((time, round) => (peer[round] ?? NaN) / time)) }
}

/** Both have to have computed the same: no figure stands beside another calculation's. */
export function checkSame(what: string, shape: AttentionShape | LatentShape, theirs: Float32Array | Uint16Array, ours: Float32Array | Uint16Array): void {
  const { dtype } = shape
  const [a, b] = [theirs, ours].map((bits) => numbersOf(bits, dtype))
  // Separate matrix products round the scores to 16 bits, each of the two parts: of a score of 8, the weight is off by 16 roundings.
  const of16Bits = 'kvLoraRank' in shape ? 16 * unitRoundoff(dtype) : 1e-2
  const bound = (dtype === 'float32' ? 1e-4 : of16Bits) * b!.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  if (a!.length !== b!.length) throw new CommandError(`${what} gives ${a!.length} numbers where ${b!.length} were expected`)
  const wrong = a!.findIndex((value, i) => !(Math.abs(value - b![i]!) <= bound))
  if (wrong < 0) return
  throw new CommandError(`${what} computes something else: number ${wrong} is ${a![wrong]}, expected ${b![wrong]} within ${bound.toExponential(1)}`)
}

function numbersOf(bits: Float32Array | Uint16Array, dtype: AttentionShape['dtype']): Float32Array {
  if (bits instanceof Float32Array) return bits
  using tensor = Tensor.fromBits(bits, [bits.length], { dtype: dtype as 'float16' })
  return tensor.readSync() as Float32Array
}
