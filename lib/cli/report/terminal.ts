import type { CompareReport } from '../compare/report'
import { colorsFor } from '../style'
import { bytes, units } from './format'
import { plainTable } from './plain-table'
import { type Section, headline, sectionsOf } from './rows'

type Colors = ReturnType<typeof colorsFor>

/** The report as text for a terminal: a table, or a list per mechanism where the table is wider than the terminal. */
export function terminalReport(report: CompareReport, stream: { readonly isTTY?: boolean; readonly columns?: number } = process.stdout): string {
  const colors = colorsFor(stream)
  const width = stream.columns ?? 100
  const titles = report.mechanisms.map((mechanism) => mechanism.title)
  const sections = sectionsOf(report)
  const table = wideTable(titles, sections, colors)
  const body = tableWidth(titles, sections) <= width ? table : narrowLists(titles, sections, colors)
  const paragraphs = (items: readonly string[]) => items.map((item) => wrap(item, Math.min(width, 100), colors)).join('\n')
  return [
    heading(report, colors),
    body,
    ...(report.notes.length > 0 ? [paragraphs(report.notes.map((note) => `Note: ${note}`))] : []),
    `${paragraphs(report.reading)}\n`,
  ].join('\n\n')
}

function heading(report: CompareReport, colors: Colors): string {
  const { model, settings, machine, mechanisms } = report
  const lines = [
    colors.bold(headline(report)),
    `hidden size ${model.hiddenSize}, ${settings.dtype} weights and cache, batch ${settings.batch}${machine ? `, ${units(machine.device, machine.threads)}` : ''}`,
    ...mechanisms.map((mechanism) => `${mechanism.title}: ${mechanism.origin}`),
    ...(machine ? [`${machine.device}: ${machine.name}, ${machine.arch}, ${bytes(machine.totalMemory)}; node ${machine.node}, ${machine.platform}`] : []),
  ]
  return [lines[0], ...lines.slice(1).map((line) => colors.dim(line))].join('\n')
}

function wideTable(titles: readonly string[], sections: readonly Section[], colors: Colors): string {
  const rows = sections.flatMap((section) => [
    [{ content: colors.cyan(section.title), colSpan: 4 }],
    ...section.rows.map((row) => [`  ${row.label}`, ...row.cells.map((cell, i) => (i === row.best ? colors.green(cell) : cell))]),
  ])
  return plainTable(['', ...titles.map((title) => colors.bold(title))], rows, ['left', 'right', 'right', 'right'])
}

function tableWidth(titles: readonly string[], sections: readonly Section[]): number {
  const rows = sections.flatMap((section) => section.rows)
  const label = Math.max(...rows.map((row) => row.label.length + 2))
  return titles.reduce((width, title, i) => width + 3 + Math.max(title.length, ...rows.map((row) => row.cells[i]?.length ?? 0)), label)
}

function narrowLists(titles: readonly string[], sections: readonly Section[], colors: Colors): string {
  return titles
    .map((title, i) => {
      const lines = sections.flatMap((section) => [
        colors.cyan(section.title),
        ...section.rows.map((row) => `  ${row.label}: ${i === row.best ? colors.green(row.cells[i] ?? '') : (row.cells[i] ?? '')}`),
      ])
      return [colors.bold(title), ...lines].join('\n')
    })
    .join('\n\n')
}

/** A paragraph whose first word, up to the colon, stands out; further lines are indented. */
function wrap(text: string, width: number, colors: Colors): string {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.length - 1
    const line = lines[last] ?? ''
    if (line !== '' && line.length + 1 + word.length > width) lines.push(`  ${word}`)
    else lines[last] = line === '' ? word : `${line} ${word}`
  }
  return lines.join('\n').replace(/^[^:\n]{1,30}:/, (lead) => colors.bold(lead))
}
