import { writeFileSync } from 'node:fs'
import { arch, platform } from 'node:process'
import type * as Devices from '../../devices'
import { CommandError } from '../command-error'
import { packageFacts } from '../package-facts'
import { startProgress } from '../progress'
import { htmlReport } from '../report/html'
import { terminalReport } from '../report/terminal'
import { costsOf } from './costs-report'
import type * as Measure from './measure'
import { readReport } from './reading'
import type { CompareReport, MachineReport, MechanismReport } from './report'
import { type CompareOptions, subjectOf } from './request'

export async function runCompare(options: CompareOptions): Promise<void> {
  const report = await compare(options)
  process.stdout.write(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : terminalReport(report))
  // Last: should the file not be writable, the numbers are out.
  if (options.html === undefined) return
  try {
    writeFileSync(options.html, htmlReport(report))
  } catch (error) {
    throw new CommandError(`the page could not be written: ${(error as Error).message}`)
  }
}

/** Counts, measures unless told otherwise, and reads the result. */
export async function compare(options: CompareOptions): Promise<CompareReport> {
  const subject = subjectOf(options)
  const [mha, gqa, mla] = subject.triple
  const counted = [costsOf(mha, subject, options), costsOf(gqa, subject, options), costsOf(mla, subject, options)] as const
  const { mechanisms, machine, notes } = options.measure ? await measured(counted, options) : { mechanisms: counted, machine: null, notes: [] }
  const unread = {
    package: packageFacts(),
    machine,
    model: { preset: subject.preset, title: subject.title, source: subject.source, layers: subject.layers, hiddenSize: mha.shape.hiddenSize },
    settings: {
      dtype: options.dtype, batch: options.batch, lengths: options.lengths, prefill: options.prefill, memoryBytes: options.memory, seed: options.seed,
    },
    mechanisms,
    notes,
  }
  return { ...unread, reading: readReport(unread) }
}

type Three = readonly [MechanismReport, MechanismReport, MechanismReport]

async function measured(counted: Three, options: CompareOptions): Promise<{ mechanisms: Three; machine: MachineReport; notes: readonly string[] }> {
  // Only here: costs alone need no addon.
  const { measure } = require('./measure') as typeof Measure
  const { checkDevice, devices } = require('../../devices') as typeof Devices
  if (options.threads !== undefined) devices.setNumThreads(options.threads)
  const device = devices.get(checkDevice('--device', options.device))
  const { measured, notes } = await measure(counted, options, startProgress())
  const machine = {
    device: device.id, name: device.name, arch: device.arch, threads: device.units, totalMemory: device.totalMemory,
    node: process.versions.node, platform: `${platform}-${arch}`,
  }
  const complete = (i: 0 | 1 | 2) => ({ ...counted[i], measured: measured[i] ?? null })
  return { mechanisms: [complete(0), complete(1), complete(2)], machine, notes }
}
