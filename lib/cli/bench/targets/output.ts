import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { CommandError } from '../../command-error'
import { plainTable } from '../../report/plain-table'
import { colorsFor } from '../../style'
import { resultFile } from '../machine'
import { peakRows } from '../rows'
import type { TargetsReport } from './report'
import { sweepColumns, sweepRows, targetColumns, targetRows, unfusedColumns, unfusedRows } from './rows'

export function print(report: TargetsReport, json: boolean): void {
  if (json) {
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

export function save(report: TargetsReport): void {
  const file = resultFile(report.machine, 'targets')
  try {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`)
  } catch (error) {
    throw new CommandError(`the result could not be written: ${(error as Error).message}`)
  }
  process.stderr.write(`saved ${file}\n`)
}
