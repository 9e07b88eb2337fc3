import { performance } from 'node:perf_hooks'
import { checkDevice, devices } from '../../../devices'
import { ArgumentError } from '../../../errors'
import type { Spread } from '../../compare/report'
import { spreadOf } from '../../compare/spread'
import { packageFacts } from '../../package-facts'
import { defaultPreset } from '../../presets'
import { startProgress } from '../../progress'
import { measureCalls } from '../calls'
import { caseOf } from '../cases'
import { machineFacts } from '../machine'
import { type Measured, measureCase } from '../measure'
import { bestOf, measurePeaks } from '../peaks'
import { measureBeside } from '../peers/beside'
import { openPeer } from '../peers/open'
import type { PeerName } from '../peers/peer'
import type { BenchMachine } from '../report'
import { type BenchSettings, settingsOf } from '../request'
import { runGpuTargets } from './gpu-run'
import { judged } from './judge'
import { type SweepShape, type Target, speedupOf, sweep, sweepPeer, targets } from './list'
import { print, save } from './output'
import type { SweepResult } from './report'
import { checkProgram, measureUnfused } from './unfused'

export interface TargetsOptions {
  readonly device: string
  readonly threads?: number
  readonly rounds: number
  readonly seconds: number
  /** The CPU's sweep beside onnxruntime, a GPU's prefills beside torch; true: whichever it is. */
  readonly peer?: PeerName | true
  /** Divides the lengths of a GPU's targets. */
  readonly scale: number
  /** The program of the C++ tests. */
  readonly unfused?: string
  readonly json?: true
  readonly save?: true
}

const now = () => performance.now() / 1000
const peakSeconds = 4
const speedupSampleSeconds = 0.02

/** Every target and, with the peer installed, the sweep beside it; what a version has to show. */
export async function runTargets(options: TargetsOptions): Promise<void> {
  const device = checkDevice('--device', options.device)
  const base = settingsOf({ preset: defaultPreset, batch: 1, causal: true, dtype: 'float32', device, rounds: 1, seconds: 1 }, device)
  if (device === 'cpu') await runCpuTargets(options, base)
  else await runGpuTargets(options, base)
}

async function runCpuTargets(options: TargetsOptions, base: BenchSettings): Promise<void> {
  const { device } = base
  if (options.scale !== 1) throw new ArgumentError('--scale', 'a GPU in --device: the CPU has no scaled targets', `--device ${device}`)
  if (options.peer === 'torch') throw new ArgumentError('--peer', `${sweepPeer}, which the CPU is swept beside`, 'torch')
  if (options.unfused !== undefined) checkProgram(options.unfused)
  const peer = options.peer === undefined ? undefined : openPeer(sweepPeer)
  if (options.threads !== undefined) devices.setNumThreads(options.threads)
  const info = devices.get(device)
  const progress = startProgress()
  const notes: string[] = []
  try {
    progress.phase('measuring the machine')
    const facts = machineFacts(info)
    let machine: BenchMachine = { ...facts, peaks: await measurePeaks(info, base, peakSeconds, notes) }
    const each = options.seconds / (targets.length + speedupOf.length + 2 + (peer ? sweep.length : 0))
    const budget = () => ({ rounds: options.rounds, deadline: now() + each, last: now() + 20 * each, sure: each })
    const measured = new Map<string, Measured>()
    for (const target of targets) {
      progress.phase(target.name)
      const result = await measureCase(caseOf[target.op]({ ...base, ...target.settings }, target.length), { ...base, ...target.settings }, machine, budget())
      if (typeof result === 'string') notes.push(`${target.name} was left out: ${result}. More time: --seconds.`)
      else measured.set(target.name, result)
    }
    const speedups: Record<string, Spread> = {}
    for (const target of targets.filter(({ name }) => speedupOf.includes(name))) {
      progress.phase(`${target.name}: one thread beside two`)
      speedups[target.name] = await speedupOfThreads(target, base, options, each)
    }
    progress.phase('measuring calls')
    const { enqueue } = await measureCalls(base, machine)
    progress.phase('measuring the machine again')
    machine = { ...facts, peaks: bestOf(machine.peaks, await measurePeaks(info, base, peakSeconds, [])) }
    const results = targets.flatMap((target) => measured.has(target.name) ? [judged(target, measured, machine)] : [])
    const swept: SweepResult[] = []
    for (const shape of peer ? sweep : []) {
      progress.phase(`${shape.op} ${shape.length} beside ${sweepPeer}`)
      swept.push({ ...labelOf(shape), peer: await besidePeer(shape) })
    }
    if (options.unfused !== undefined) progress.phase('beside the unfused composition')
    const unfused = options.unfused === undefined ? undefined : measureUnfused(options.unfused)
    const report = {
      package: packageFacts(), date: new Date().toISOString(), machine, targets: results, speedups, enqueue, sweep: swept, ...(unfused && { unfused }), notes,
    }
    print(report, options.json === true)
    if (options.save === true) save(report)

    function besidePeer(shape: SweepShape) {
      const settings = { ...base, ...shape.settings }
      const { attention } = caseOf[shape.op](settings, shape.length)
      if (peer === undefined || attention === undefined) return 'not compared'
      return measureBeside(peer, attention, settings, { rounds: options.rounds, deadline: now() + each })
    }
  } finally {
    progress.stop()
  }
}

/** Rounds of one thread and two in turn; the results do not depend on it. */
async function speedupOfThreads(target: Target, base: BenchSettings, { rounds }: TargetsOptions, seconds: number) {
  const threads = devices.get(base.device).units
  using opened = caseOf[target.op]({ ...base, ...target.settings }, target.length).open()
  const timed = async (count: number, calls: number) => {
    devices.setNumThreads(count)
    opened.run() // wakes the threads
    await devices.synchronize(base.device)
    const began = now()
    for (let call = 0; call < calls; ++call) opened.run()
    await devices.synchronize(base.device)
    return (now() - began) / calls
  }
  const ratios: number[] = []
  try {
    const calls = Math.ceil(speedupSampleSeconds / (await timed(2, 1)))
    const deadline = now() + seconds
    for (let round = 0; round < rounds && (round < 5 || now() < deadline); ++round) {
      const one = round % 2 === 0 ? await timed(1, calls) : NaN
      const two = await timed(2, calls)
      ratios.push((Number.isNaN(one) ? await timed(1, calls) : one) / two)
    }
  } finally {
    devices.setNumThreads(threads)
  }
  return spreadOf(ratios)
}

function labelOf({ op, length, settings }: SweepShape): Omit<SweepResult, 'peer'> {
  return { op, length, causal: settings.causal ?? false, heads: `${settings.numQoHeads ?? 0}/${settings.numKvHeads ?? 0} of ${settings.headDimQk ?? 0}` }
}
