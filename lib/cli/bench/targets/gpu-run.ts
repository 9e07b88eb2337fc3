import { performance } from 'node:perf_hooks'
import { devices } from '../../../devices'
import { ArgumentError } from '../../../errors'
import { packageFacts } from '../../package-facts'
import { startProgress } from '../../progress'
import { caseOf } from '../cases'
import { machineFacts } from '../machine'
import { type Measured, measureCase } from '../measure'
import { bestOf, measurePeaks } from '../peaks'
import { openPeer } from '../peers/open'
import type { BenchMachine } from '../report'
import type { BenchSettings } from '../request'
import { besideCudnn } from './cudnn'
import { judgedGpu } from './gpu-judge'
import { type GpuTarget, checkUnscaled, gpuTargets, scaled, scaledPeaks } from './gpu-list'
import { print, save } from './output'
import type { CudnnTimes } from './report'
import type { TargetsOptions } from './run'

/** Of the time for all of it, before the targets and again after them. */
const peakShare = 1 / 16
const mostPeakSeconds = 4
/** Making the numbers of long contexts takes time that is not measured; after so many times `seconds` nothing long is begun. */
const overtime = 3

const now = () => performance.now() / 1000

/** A GPU's targets; with --peer torch, prefills beside cuDNN as PyTorch calls it. */
export async function runGpuTargets(options: TargetsOptions, base: BenchSettings): Promise<void> {
  const { device } = base
  const { scale, rounds, seconds } = options
  if (options.unfused !== undefined) throw new ArgumentError('--unfused', 'the CPU in --device: the unfused composition is its own', `--device ${device}`)
  if (options.peer === 'onnxruntime') throw new ArgumentError('--peer', 'torch, whose cuDNN a GPU is held against', 'onnxruntime')
  checkUnscaled(scale, options.save === true)
  const info = devices.get(device)
  const peer = options.peer === undefined ? undefined : openPeer('torch')
  const settings = scaledPeaks(base, scale)
  const targets = gpuTargets.map((target) => scaled(target, scale))
  const notes = scale === 1 ? [] : [`lengths over ${scale}, fewer heads and sequences (--scale): a trial of the steps, no result.`]
  const peakSeconds = Math.min(mostPeakSeconds, seconds * peakShare)
  const turns = targets.length + (peer ? targets.filter(({ goal }) => goal.kind === 'cudnn').length : 0)
  const each = (seconds - 2 * peakSeconds) / turns
  const last = now() + overtime * seconds
  const progress = startProgress()
  try {
    progress.phase('measuring the machine')
    const facts = machineFacts(info)
    let machine: BenchMachine = { ...facts, peaks: await measurePeaks(info, settings, peakSeconds, notes) }
    const measured: { readonly target: GpuTarget; readonly result: Measured; readonly beside: CudnnTimes | string }[] = []
    for (const target of targets) {
      progress.phase(target.name)
      const own = { ...settings, ...target.settings }
      const bench = caseOf[target.op](own, target.length)
      const result = await measureCase(bench, own, machine, { rounds, deadline: Infinity, last, sure: each, timing: each })
      if (typeof result === 'string') notes.push(`${target.name} was left out: ${result}. More time: --seconds.`)
      else measured.push({ target, result, beside: target.goal.kind === 'cudnn' ? await beside(target) : '' })
    }
    progress.phase('measuring the machine again')
    machine = { ...facts, peaks: bestOf(machine.peaks, await measurePeaks(info, settings, peakSeconds, [])) }
    const report = {
      package: packageFacts(), date: new Date().toISOString(), machine,
      targets: measured.map(({ target, result, beside: times }) => judgedGpu(target, result, machine, times)),
      speedups: {}, enqueue: {}, sweep: [], notes, ...(scale !== 1 && { scale }),
    }
    print(report, options.json === true)
    if (options.save === true) save(report)
  } finally {
    progress.stop()
  }

  async function beside(target: GpuTarget): Promise<CudnnTimes | string> {
    if (peer === undefined) return 'not beside cuDNN: no --peer torch'
    const { attention } = caseOf[target.op]({ ...settings, ...target.settings }, target.length)
    if (attention === undefined || !('qoLen' in attention)) throw new Error(`${target.name} is nothing that PyTorch has`)
    progress.phase(`${target.name} beside cuDNN`)
    return await besideCudnn(peer, attention, settings, { rounds, seconds: each })
  }
}
