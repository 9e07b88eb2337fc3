import { bytes } from '../report/format'
import { chartPage, escape, figure, notesSection } from '../report/page'
import { pageScript } from './page-script'
import { caseLabel } from './label'
import { callRows, caseColumns, caseRow, isText, peakRows, peakTitles, peerColumns, peerRows } from './rows'
import type { BenchReport, CaseReport, ComputePeak, MemoryPeak, Peaks } from './report'
import { rateOf } from './roofline'

/** The result as one self-contained page. */
export function benchPage(report: BenchReport): string {
  const { machine, cases, notes } = report
  const title = `Kernels on ${machine.name}, ${machine.arch}, ${machine.threads} threads`
  const body = `<header><h1>${escape(title)}</h1>
<p>${escape(facts(report))}</p></header>
<section class="charts">
${figure('roofline', 'Roofline', 'operations per second by operations per byte, both logarithmic; numbers are tokens, lines the measured peaks')}
${figure('speed', 'Speed over length', 'share of the measured peak that binds each case, by tokens')}
</section>
<section><h2>Cases</h2>${table(caseColumns(cases), cases.map((entry) => caseRow(entry, cases)))}</section>
${besidePeer(cases)}<section><h2>Measured peaks</h2>${table(['', '1 thread', 'all threads', ''], peakRows(machine))}</section>
<section><h2>From JavaScript</h2>${table(['', ''], callRows(report.calls))}</section>
${notesSection(notes)}
<footer>${escape(`${report.package.name} ${report.package.version}`)}</footer>`
  return chartPage({ title, body, data: chartData(report), script: pageScript })
}

function facts({ machine, settings, date }: BenchReport): string {
  const { dtype, batch, numQoHeads, numKvHeads, headDimQk } = settings
  const shape = `${dtype}, batch ${batch}, heads ${numQoHeads}/${numKvHeads} of ${headDimQk}`
  return `${shape}; ${bytes(machine.totalMemory)}; node ${machine.node}, ${machine.platform}; ${date}`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const kind = (column: number) => (isText(head[column] ?? '') ? ' class="text"' : '')
  const cells = (tag: 'td' | 'th', row: readonly string[]) => `<tr>${row.map((cell, i) => `<${tag}${kind(i)}>${escape(cell)}</${tag}>`).join('')}</tr>`
  return `<div class="scroll"><table><thead>${cells('th', head)}</thead><tbody>${rows.map((row) => cells('td', row)).join('')}</tbody></table></div>`
}

function besidePeer(cases: readonly CaseReport[]): string {
  const rows = peerRows(cases)
  if (rows.length === 0) return ''
  const [first] = cases.flatMap(({ peer }) => peer ?? [])
  const caption = 'how many times faster the package is, end to end and by the kernels alone; both took turns, ratios are taken round by round'
  return `<section class="charts">${figure('beside', `Beside ${first?.name ?? ''} ${first?.version ?? ''}`, caption)}</section>
<section><h2>Beside ${escape(first?.name ?? '')}</h2>${table(peerColumns, rows)}</section>
`
}

/** Columns of numbers, the first one their x. Cases without operations have no place under a roofline. */
function chartData({ cases, machine: { peaks } }: BenchReport): unknown {
  const ops = [...new Set(cases.map(({ op }) => op))]
  const counted = cases.filter(({ flops }) => flops > 0)
  const intensity = (entry: (typeof cases)[number]) => entry.flops / entry.bytes
  const roofs = roofsOf(peaks, counted)
  const spread = [...counted.map(intensity), ...roofs.map(({ compute, memory }) => compute / memory)]
  const x = counted.length === 0 ? [] : [...new Set([...spread, Math.min(...spread) / 2, Math.max(...spread) * 2])].sort((a, b) => a - b)
  const compared = cases.filter(({ peer }) => peer !== undefined)
  const lengths = [...new Set(cases.map(({ length }) => length))].sort((a, b) => a - b)
  const at = (name: string, find: (entry: (typeof cases)[number]) => boolean) => cases.find((entry) => entry.op === name && find(entry))
  const rate = (name: string) => x.map((value) => {
    const found = at(name, (entry) => entry.flops > 0 && intensity(entry) === value)
    return found ? found.flopRate / 1e9 : null
  })
  const share = (name: string) => lengths.map((length) => {
    const found = at(name, (entry) => entry.length === length)
    return found ? found.share * 100 : null
  })
  return {
    ...(compared.length > 0 && {
      besideLabels: compared.map(caseLabel),
      beside: [
        compared.map((_, i) => i), compared.map(({ peer }) => peer?.endToEnd?.ratio.median ?? null), compared.map(({ peer }) => peer?.kernel.ratio.median),
      ],
    }),
    ops,
    roofs: roofs.map(({ label }) => label),
    points: counted.map((entry) => [intensity(entry), entry.flopRate / 1e9, entry.length]),
    roofline: [x, ...roofs.map(({ compute, memory }) => x.map((value) => Math.min(compute, value * memory) / 1e9)), ...ops.map(rate)],
    speed: [lengths, ...ops.map(share)],
  }
}

/** Each peak that a case was held against, as far as memory feeds it; the highest one from the cache as well. */
function roofsOf(peaks: Peaks, cases: readonly CaseReport[]) {
  const used = [...new Set(cases.map(({ compute }) => compute))].sort((a, b) => rateOf(peaks, b) - rateOf(peaks, a))
  const roofs = (computes: readonly ComputePeak[], memories: readonly MemoryPeak[]) => computes.flatMap((compute) => memories.flatMap((memory) => {
    if (rateOf(peaks, memory) === 0) return []
    return [{ label: `${peakTitles[compute]}, ${peakTitles[memory]}`, compute: rateOf(peaks, compute), memory: rateOf(peaks, memory) }]
  }))
  return [...roofs(used, ['memoryRead', 'copy']), ...roofs(used.slice(0, 1), ['cacheRead'])]
}
