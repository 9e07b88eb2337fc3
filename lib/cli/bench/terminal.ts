import { bytes, units } from '../report/format'
import { plainTable } from '../report/plain-table'
import { colorsFor } from '../style'
import type { BenchReport } from './report'
import { callRows, caseColumns, caseRow, isText, peakRows, peerColumns, peerRows } from './rows'

type Colors = ReturnType<typeof colorsFor>

export function terminalReport(report: BenchReport, stream: { readonly isTTY?: boolean } = process.stdout): string {
  const colors = colorsFor(stream)
  const { machine, cases, calls, notes } = report
  const titles = (texts: readonly string[]) => texts.map((text) => colors.cyan(text))
  const columns = caseColumns(cases)
  const beside = peerRows(cases)
  const sections = [
    heading(report, colors),
    plainTable(titles(['measured peak', '1 thread', 'all threads', '']), peakRows(machine), ['left', 'right', 'right', 'left']),
    ...(cases.length === 0 ? [] : [plainTable(titles(columns), cases.map((entry) => caseRow(entry, cases)), columns.map(align))]),
    ...(beside.length === 0 ? [] : [plainTable(titles(peerColumns), beside, peerColumns.map(align))]),
    plainTable(titles(['from JavaScript', '']), callRows(calls), ['left', 'left']),
    ...(notes.length === 0 ? [] : [notes.map((note) => `Note: ${note}`).join('\n')]),
  ]
  return `${sections.join('\n\n')}\n`
}

function align(column: string): 'left' | 'right' {
  return isText(column) ? 'left' : 'right'
}

function heading({ machine, settings }: BenchReport, colors: Colors): string {
  const { numQoHeads, numKvHeads, headDimQk, headDimVo } = settings
  const cache = machine.cacheBytes === null ? 'unknown' : bytes(machine.cacheBytes)
  const lines = [
    `${bytes(machine.totalMemory)}, last cache level ${cache}, load ${machine.load.toFixed(1)}; node ${machine.node}, ${machine.platform}`,
    `${settings.dtype}, batch ${settings.batch}, heads ${numQoHeads}/${numKvHeads} of ${headDimQk}${headDimVo === headDimQk ? '' : ` and ${headDimVo}`}, ` +
      `hidden size ${settings.hiddenSize}, MLA ${settings.kvLoraRank} + ${settings.qkRopeHeadDim}${settings.causal ? '' : ', not causal'}`,
  ]
  const device = `${machine.device}: ${machine.name}, ${machine.arch}, ${units(machine.device, machine.threads)}`
  return [colors.bold(device), ...lines.map((line) => colors.dim(line))].join('\n')
}
