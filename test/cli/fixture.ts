import { costsOf } from '../../lib/cli/compare/costs-report'
import { readReport } from '../../lib/cli/compare/reading'
import type { CompareReport, MechanismReport, Spread } from '../../lib/cli/compare/report'
import { type CompareOptions, subjectOf } from '../../lib/cli/compare/request'

export const compareOptions: CompareOptions = {
  preset: 'llama-3-8b', dtype: 'float32', lengths: [512, 8192], prefill: 512, batch: 1, memory: 2 ** 33, device: 'cpu', rounds: 20, seconds: 40, seed: 1,
  measure: false,
}

/** Milliseconds of MHA, GQA and MLA. */
export type Times = readonly [number, number, number]

export function spreadAround(milliseconds: number, rounds = 9): Spread {
  const median = milliseconds / 1000
  return { median, lower: median * 0.98, upper: median * 1.02, min: median * 0.95, max: median * 1.2, rounds }
}

/** A report with counted costs and given times; without times as from --no-measure. */
export function reportWith(options: CompareOptions, times?: { readonly decode: readonly Times[]; readonly prefill?: Times; readonly rounds?: number }): CompareReport {
  const subject = subjectOf(options)
  const measured = (i: 0 | 1 | 2): MechanismReport => {
    const counted = costsOf(subject.triple[i], subject, options)
    if (!times) return counted
    const prefill = times.prefill && spreadAround(times.prefill[i], times.rounds)
    return {
      ...counted,
      measured: {
        ...(prefill && { prefill: { ...prefill, tokensPerSecond: (options.batch * options.prefill) / prefill.median } }),
        decode: times.decode.map((row, at) => ({ kvLen: options.lengths[at] ?? NaN, ...spreadAround(row[i], times.rounds) })),
        ...(i === 2 && { formsDiffer: 4e-7 }),
      },
    }
  }
  const unread = {
    package: { name: 'node-flash-attention', version: '0.0.0' },
    machine: times ? { device: 'cpu', name: 'A Processor', arch: 'avx2', threads: 2, totalMemory: 2 ** 34, node: '20.0.0', platform: 'linux-x64' } : null,
    model: { preset: subject.preset, title: subject.title, source: subject.source, layers: subject.layers, hiddenSize: subject.triple[0].shape.hiddenSize },
    settings: {
      dtype: options.dtype, batch: options.batch, lengths: options.lengths, prefill: options.prefill, memoryBytes: options.memory, seed: options.seed,
    },
    mechanisms: [measured(0), measured(1), measured(2)] as const,
    notes: [],
  }
  return { ...unread, reading: readReport(unread) }
}
