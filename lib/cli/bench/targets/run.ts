import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkDevice, devices } from '../../../devices'
import { CommandError } from '../../command-error'
import { spreadOf } from '../../compare/spread'
import { packageFacts } from '../../package-facts'
import { defaultPreset } from '../../presets'
import { startProgress } from '../../progress'
import { plainTable } from '../../report/plain-table'
import { colorsFor } from '../../style'
import { measureCalls } from '../calls'
import { caseOf } from '../cases'
import { machineFacts, resultFile } from '../machine'
import { type Measured, measureCase } from '../measure'
import { bestOf, measurePeaks } from '../peaks'
import { measureBeside } from '../peers/beside'
import { openPeer } from '../peers/open'
import type { BenchMachine } from '../report'
import { type BenchSettings, settingsOf } from '../request'
import { isRate, roofline } from '../roofline'
import { percent } from '../rows'
import { type Against, type SweepShape, type Target, speedupOf, sweep, sweepPeer, targets } from './list'
import type { SweepResult, TargetResult, TargetsReport } from './report'
import { sweepColumns, sweepRows, targetColumns, targetRows } from './rows'

export interface TargetsOptions {
  readonly device: string
  readonly threads?: number
  readonly rounds: number
  readonly seconds: number
  /** The sweep beside the peer. */
  readonly peer: boolean
  readonly json?: true
  readonly save?: true
}

const now = () => performance.now() / 1000
const peakSeconds = 4

/** Every target and, with the peer installed, the sweep beside it; what a version has to show. */
export async function runTargets(options: TargetsOptions): Promise<void> {
  const device = checkDevice('--device', options.device)
  const base = settingsOf({ preset: defaultPreset, batch: 1, causal: true, dtype: 'float32', device, rounds: 1, seconds: 1 }, device)
  const peer = options.peer ? openPeer(sweepPeer) : undefined
  if (options.threads !== undefined) devices.setNumThreads(options.threads)
  const info = devices.get(device)
  const progress = startProgress()
  const notes: string[] = []
  try {
    progress.phase('measuring the machine')
    const facts = machineFacts(info)
    let machine: BenchMachine = { ...facts, peaks: await measurePeaks(info, peakSeconds, notes) }
    const each = options.seconds / (targets.length + 2 + (peer ? sweep.length : 0))
    const budget = () => ({ rounds: options.rounds, deadline: now() + each, last: now() + 20 * each, sure: each })
    const measured = new Map<string, Measured>()
    for (const target of targets) {
      progress.phase(target.name)
      const result = await measureCase(caseOf[target.op]({ ...base, ...target.settings }, target.length), { ...base, ...target.settings }, machine, budget())
      if (typeof result === 'string') notes.push(`${target.name} was left out: ${result}. More time: --seconds.`)
      else measured.set(target.name, result)
    }
    progress.phase('one thread beside two')
    const speedup = await speedupOfThreads(base, options, each)
    progress.phase('measuring calls')
    const { enqueue } = await measureCalls(base)
    progress.phase('measuring the machine again')
    machine = { ...facts, peaks: bestOf(machine.peaks, await measurePeaks(info, peakSeconds, [])) }
    const results = targets.flatMap((target) => measured.has(target.name) ? [judged(target, measured, machine)] : [])
    const swept: SweepResult[] = []
    for (const shape of peer ? sweep : []) {
      progress.phase(`${shape.op} ${shape.length} beside ${sweepPeer}`)
      swept.push({ ...labelOf(shape), peer: await besidePeer(shape) })
    }
    const report = { package: packageFacts(), date: new Date().toISOString(), machine, targets: results, speedup, enqueue, sweep: swept, notes }
    print(report, options)
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

function judged(target: Target, measured: ReadonlyMap<string, Measured>, machine: BenchMachine): TargetResult {
  const { kernels, time, flops, bytes } = measured.get(target.name)!
  const [flopRate, byteRate] = [flops / time.median, bytes / time.median]
  const facts = { name: target.name, kernels, time, flopRate, byteRate, bound: roofline(machine, flops, bytes).bound }
  if (target.beside) {
    const other = measured.get(target.beside.name)
    const ratio = other ? flopRate / (other.flops / other.time.median) : NaN
    const words = (value: number) => `${percent(value)} of the rate of ${target.beside!.name}`
    return { ...facts, target: words(target.beside.least), measured: percent(ratio), met: ratio >= target.beside.least }
  }
  const shares = (target.shares ?? []).map(({ against, least }) => ({ ...shareOf(against), least }))
  return {
    ...facts, target: shares.map(({ least, words }) => `${percent(least)} of ${words}`).join(' or '),
    measured: shares.map(({ share }) => percent(share)).join(' or '), met: shares.some(({ share, least }) => share >= least),
  }

  function shareOf(against: Against): { readonly share: number; readonly words: string } {
    const { multiplyAdd, bf16Dot, memoryRead } = machine.peaks
    if (against === 'memory') return { share: byteRate / memoryRead.all, words: 'memory bandwidth' }
    if (against === 'roofline') return { share: roofline(machine, flops, bytes).seconds / time.median, words: 'the bandwidth or peak that binds' }
    if (against === 'dot' && isRate(bf16Dot)) return { share: flopRate / bf16Dot.all, words: 'the bfloat16 dot peak' }
    return { share: flopRate / multiplyAdd.all, words: against === 'dot' ? 'the multiply-add peak (no bfloat16 dot here)' : 'the multiply-add peak' }
  }
}

/** Rounds of one thread and two in turn; the results do not depend on it. */
async function speedupOfThreads(base: BenchSettings, { rounds }: TargetsOptions, seconds: number) {
  const target = targets.find(({ name }) => name === speedupOf)!
  const threads = devices.get(base.device).units
  using opened = caseOf[target.op]({ ...base, ...target.settings }, target.length).open()
  const timed = async (count: number) => {
    devices.setNumThreads(count)
    const began = now()
    opened.run()
    await devices.synchronize(base.device)
    return now() - began
  }
  const ratios: number[] = []
  try {
    await timed(2)
    const deadline = now() + seconds
    for (let round = 0; round < rounds && (round < 5 || now() < deadline); ++round) {
      const one = round % 2 === 0 ? await timed(1) : NaN
      const two = await timed(2)
      ratios.push((Number.isNaN(one) ? await timed(1) : one) / two)
    }
  } finally {
    devices.setNumThreads(threads)
  }
  return spreadOf(ratios)
}

function labelOf({ op, length, settings }: SweepShape): Omit<SweepResult, 'peer'> {
  return { op, length, causal: settings.causal ?? false, heads: `${settings.numQoHeads ?? 0}/${settings.numKvHeads ?? 0} of ${settings.headDimQk ?? 0}` }
}

function print(report: TargetsReport, { json }: TargetsOptions): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    return
  }
  const colors = colorsFor(process.stdout)
  const titles = (texts: readonly string[]) => texts.map((text) => colors.cyan(text))
  const left = (columns: readonly string[]) => columns.map(() => 'left' as const)
  const sections = [
    plainTable(titles(targetColumns), targetRows(report), left(targetColumns)),
    ...(report.sweep.length === 0 ? [] : [plainTable(titles(sweepColumns), sweepRows(report.sweep), left(sweepColumns))]),
    ...(report.notes.length === 0 ? [] : [report.notes.map((note) => `Note: ${note}`).join('\n')]),
  ]
  process.stdout.write(`${sections.join('\n\n')}\n`)
}

function save(report: TargetsReport): void {
  const file = resultFile(report.machine, 'targets')
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  } catch (error) {
    throw new CommandError(`the result could not be written: ${(error as Error).message}`)
  }
  process.stderr.write(`saved ${file}\n`)
}
