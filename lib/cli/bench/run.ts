import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkDevice, devices } from '../../devices'
import { CommandError } from '../command-error'
import { packageFacts } from '../package-facts'
import { type Progress, startProgress } from '../progress'
import { colorsFor } from '../style'
import { type Baseline, checkComparable, readBaseline, relativeTo } from './baseline'
import { measureCalls } from './calls'
import { caseOf } from './cases'
import { caseLabel } from './label'
import { machineFacts, resultFile } from './machine'
import { measureBeside } from './peers/beside'
import { openPeer } from './peers/open'
import { type Measured, measureCase } from './measure'
import { benchPage } from './page'
import { bestOf, measurePeaks } from './peaks'
import type { BenchMachine, BenchReport, CaseReport } from './report'
import { type BenchOp, type BenchOptions, type BenchSettings, benchOps, lengthsOf, settingsOf } from './request'
import { computePeakOf, roofline } from './roofline'
import { terminalReport } from './terminal'

const now = () => performance.now() / 1000

/** Of the time for all of it: for the peaks before the cases, and again after them. */
const peakShare = 1 / 8
const mostPeakSeconds = 5
/** A case that takes no more than this share of an equal part of the whole time is measured whatever those before it took. */
const sureShare = 1 / 2

/** Share of a case's time for the package alone; what is left goes to the rounds beside a peer. */
const alone = 0.3

export async function runBench(ops: readonly BenchOp[], options: BenchOptions): Promise<void> {
  const settings = settingsOf(options, checkDevice('--device', options.device))
  const baseline = options.compare === undefined ? undefined : readBaseline(options.compare)
  if (baseline) checkComparable(settings, baseline)
  const report = await bench(ops, options, settings, baseline)
  process.stdout.write(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : terminalReport(report))
  // Last: should a file not be writable, the numbers are out.
  if (options.html !== undefined) write(options.html, benchPage(report))
  if (options.save === true) save(report)
  if (baseline) judgeAgainst(report, options)
}

/** Measures the machine, the cases and the calls within the time budget. */
async function bench(ops: readonly BenchOp[], options: BenchOptions, settings: BenchSettings, baseline: Baseline | undefined): Promise<BenchReport> {
  const began = now()
  const end = began + options.seconds
  if (options.threads !== undefined) devices.setNumThreads(options.threads)
  const device = devices.get(settings.device)
  const peer = options.peer && openPeer(options.peer)
  const progress = startProgress()
  const notes: string[] = []
  try {
    progress.phase('measuring the machine')
    const peakSeconds = Math.min(mostPeakSeconds, options.seconds * peakShare)
    const facts = machineFacts(device)
    const before = { ...facts, peaks: await measurePeaks(device, settings, peakSeconds, notes) }
    const wanted = ops.length === 0 ? benchOps : benchOps.filter((op) => ops.includes(op))
    const planned = wanted.flatMap((op) => lengthsOf(op, options).map((length) => caseOf[op](settings, length)))
    // Room is left for what follows; each case gets an equal share of what the ones before it left over.
    const last = end - peakSeconds - options.seconds / 16
    const sure = (options.seconds / planned.length) * sureShare
    const measured: Measured[] = []
    for (const [i, entry] of planned.entries()) {
      announce(progress, caseLabel(entry), (now() - began) / options.seconds)
      const share = (last - now()) / (planned.length - i)
      const deadline = now() + share * (peer && entry.attention ? alone : 1)
      const result = await measureCase(entry, settings, before, { rounds: options.rounds, deadline, last, sure })
      if (typeof result === 'string') {
        notes.push(`${caseLabel(entry)} was left out of the ${options.seconds} s for measuring: ${result}. More time: --seconds.`)
        continue
      }
      const rounds = { rounds: options.rounds, deadline: deadline + share * (1 - alone) }
      const beside = peer && entry.attention && (await measureBeside(peer, entry.attention, settings, rounds))
      if (typeof beside === 'string') notes.push(`${caseLabel(entry)} beside ${peer?.name ?? ''}: ${beside}`)
      measured.push(typeof beside === 'object' ? { ...result, peer: beside } : result)
    }
    announce(progress, 'measuring calls', (now() - began) / options.seconds)
    const calls = await measureCalls(settings, before)
    announce(progress, 'measuring the machine again', (now() - began) / options.seconds)
    const machine = { ...facts, peaks: bestOf(before.peaks, await measurePeaks(device, settings, peakSeconds, [])) }
    const cases = measured.map((entry) => caseReport(entry, machine, settings, baseline))
    return { package: packageFacts(), date: new Date().toISOString(), machine, settings, cases, calls, notes }
  } finally {
    progress.stop()
  }
}

function caseReport(measured: Measured, machine: BenchMachine, { cold }: BenchSettings, baseline: Baseline | undefined): CaseReport {
  const { op, length, flops, bytes, time, kernels } = measured
  const compute = computePeakOf(kernels, machine.peaks)
  const least = roofline(machine, { flops, bytes, compute, cold })
  const share = least.seconds / time.median
  const relative = baseline && relativeTo(baseline, { op, length, share })
  return {
    ...measured, flopRate: flops / time.median, byteRate: bytes / time.median, bound: least.bound, compute, share, ...(relative !== undefined && { relative }),
  }
}

function announce(progress: Progress, text: string, share: number): void {
  progress.phase(text)
  progress.advance(share)
}

function save(report: BenchReport): void {
  const file = resultFile(report.machine)
  write(file, `${JSON.stringify(report, null, 2)}\n`)
  process.stderr.write(`saved ${file}\n`)
}

function write(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  } catch (error) {
    throw new CommandError(`the result could not be written: ${(error as Error).message}`)
  }
}

/** The exit status is 1 when a case fell below --fail-below, or when there is nothing to compare. */
function judgeAgainst({ cases }: BenchReport, { compare, failBelow }: BenchOptions): void {
  const compared = cases.filter((entry) => entry.relative !== undefined)
  if (compared.length === 0) throw new CommandError(`--compare: ${compare ?? ''} has none of the cases that were timed`)
  if (failBelow === undefined) return
  const slower = compared.filter(({ relative = NaN }) => !(relative >= failBelow))
  if (slower.length === 0) return
  const list = slower.map((entry) => `${caseLabel(entry)} (${(entry.relative ?? NaN).toFixed(2)})`).join(', ')
  process.stderr.write(`${colorsFor(process.stderr).red(`below ${failBelow} of ${compare ?? ''}: ${list}`)}\n`)
  process.exitCode = 1
}
