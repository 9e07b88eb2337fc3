import { readFileSync } from 'node:fs'
import { ArgumentError } from '../../errors'
import { CommandError } from '../command-error'
import type { BenchReport, CaseReport } from './report'
import type { BenchSettings } from './request'

export type Baseline = Pick<BenchReport, 'settings' | 'cases' | 'machine'>

/** An earlier result, from --json or --save. */
export function readBaseline(file: string): Baseline {
  let report: Partial<Baseline> | null
  try {
    report = JSON.parse(readFileSync(file, 'utf8')) as Partial<Baseline> | null
  } catch (error) {
    throw new CommandError(`--compare: ${file} could not be read: ${(error as Error).message}`)
  }
  const { settings, cases, machine } = report ?? {}
  if (!settings || !machine || !Array.isArray(cases) || !cases.every((entry: CaseReport) => entry.share > 0 && typeof entry.op === 'string')) {
    throw new CommandError(`--compare: ${file} is no result of bench`)
  }
  return { settings, cases, machine }
}

/** Other shapes are other work: their efficiency says nothing about this one's. */
export function checkComparable(settings: BenchSettings, baseline: Baseline): void {
  for (const key of Object.keys(settings) as (keyof BenchSettings)[]) {
    if (settings[key] !== baseline.settings[key]) {
      throw new ArgumentError('--compare', `a result of the same options (${key} ${settings[key]})`, `${key} ${String(baseline.settings[key])}`)
    }
  }
}

/** This case's share of this run's peak over its share of the earlier run's peak; undefined where it was not timed then. */
export function relativeTo(baseline: Baseline, { op, length, share }: Pick<CaseReport, 'op' | 'length' | 'share'>): number | undefined {
  const before = baseline.cases.find((entry) => entry.op === op && entry.length === length)
  return before === undefined ? undefined : share / before.share
}
