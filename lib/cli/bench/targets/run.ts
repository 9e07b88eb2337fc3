import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkDevice, devices } from '../../../devices'
import { CommandError } from '../../command-error'
import type { Spread } from '../../compare/report'
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
import { peakRows } from '../rows'
import { measureBeside } from '../peers/beside'
import { openPeer } from '../peers/open'
import type { BenchMachine } from '../report'
import { type BenchSettings, settingsOf } from '../request'
import { judged } from './judge'
import { type SweepShape, type Target, speedupOf, sweep, sweepPeer, targets } from './list'
import type { SweepResult, TargetsReport } from './report'
import { sweepColumns, sweepRows, targetColumns, targetRows, unfusedColumns, unfusedRows } from './rows'
import { checkProgram, measureUnfused } from './unfused'

export interface TargetsOptions {
  readonly device: string
  readonly threads?: number
  readonly rounds: number
  readonly seconds: number
  /** The sweep beside the peer. */
  readonly peer: boolean
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
  if (options.unfused !== undefined) checkProgram(options.unfused)
  const peer = options.peer ? openPeer(sweepPeer) : undefined
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

function print(report: TargetsReport, { json }: TargetsOptions): void {
  if (json === true) {
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    return
  }
  const colors = colorsFor(process.stdout)
  const titles = (texts: readonly string[]) => texts.map((text) => colors.cyan(text))
  const left = (columns: readonly string[]) => columns.map(() => 'left' as const)
  const sections = [
    plainTable(titles(['measured peak', '1 thread', 'all threads', '']), peakRows(report.machine), ['left', 'right', 'right', 'left']),
    plainTable(titles(targetColumns), targetRows(report), left(targetColumns)),
    ...(report.sweep.length === 0 ? [] : [plainTable(titles(sweepColumns), sweepRows(report.sweep), left(sweepColumns))]),
    ...(report.unfused === undefined ? [] : [plainTable(titles(unfusedColumns), unfusedRows(report.unfused), left(unfusedColumns))]),
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
