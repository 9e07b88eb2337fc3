import type { CompareReport, MechanismReport, Spread } from '../compare/report'
import { clearlyFaster } from '../compare/spread'
import { bytes, count, exact, flops, seconds, spread } from './format'

/** One line of the comparison: the same quantity of each mechanism, as text. */
export interface Row {
  readonly label: string
  readonly cells: readonly [string, string, string]
  /** Smaller in the better cell: the index of the best where one is clearly so. */
  readonly best: number | null
}
export interface Section {
  readonly title: string
  readonly rows: readonly Row[]
}

export function headline({ model }: CompareReport): string {
  return `MHA, GQA and MLA at ${model.preset === null ? '' : 'the size of '}${model.title}`
}

type Three<T> = readonly [T, T, T]

/** The comparison as sections of rows; the terminal and the HTML page show the same. */
export function sectionsOf(report: CompareReport): Section[] {
  const { settings, model } = report
  const each = settings.batch > 1 ? ' per sequence' : ''
  return [
    {
      title: 'one layer',
      rows: [
        row(report, 'parameters', (mechanism) => mechanism.parameters, count),
        row(report, 'KV cache per token', (mechanism) => mechanism.kvBytesPerToken, bytes),
        row(report, `prefill ${exact(settings.prefill)}`, (mechanism) => mechanism.prefillFlops, flops),
        ...settings.lengths.map((kvLen, i) => row(report, `decode at ${exact(kvLen)}`, (mechanism) => mechanism.decode[i]?.flops ?? NaN, flops)),
      ],
    },
    {
      title: model.layers === 1 ? 'the model of 1 layer' : `the model of ${model.layers} layers`,
      rows: [
        row(report, 'KV cache per token', (mechanism) => mechanism.kvBytesPerTokenModel, bytes),
        ...settings.lengths.map((kvLen, i) => row(report, `KV cache at ${exact(kvLen)}`, (mechanism) => mechanism.decode[i]?.cacheBytesModel ?? NaN, bytes)),
        row(report, `tokens in ${bytes(settings.memoryBytes)}${each}`, (mechanism) => -mechanism.maxContext, (value) => exact(-value)),
      ],
    },
    ...measured(report),
  ]
}

function measured(report: CompareReport): Section[] {
  if (report.machine === null) return []
  const { prefill, batch, lengths } = report.settings
  const prefillTimes = timeRow(report, `prefill ${exact(prefill)}`, (mechanism) => mechanism.measured?.prefill)
  const rates = row(report, 'prefill, tokens/s', (mechanism) => mechanism.measured?.prefill?.tokensPerSecond ?? NaN, (value) => exact(Math.round(value)))
  const decodes = lengths.map((kvLen) => timeRow(report, `decode at ${exact(kvLen)}`, (mechanism) => decodeAt(mechanism, kvLen)))
  const rows = [prefillTimes, prefillTimes && { ...rates, best: prefillTimes.best }, ...decodes].filter((entry) => entry !== null)
  const together = batch > 1 ? `, ${batch} sequences at once` : ''
  return rows.length === 0 ? [] : [{ title: `measured, one layer${together}`, rows }]
}

export function decodeAt(mechanism: MechanismReport, kvLen: number): Spread | undefined {
  return mechanism.measured?.decode.find((entry) => entry.kvLen === kvLen)
}

function row({ mechanisms }: CompareReport, label: string, value: (mechanism: MechanismReport) => number, format: (value: number) => string): Row {
  const values = mechanisms.map(value)
  const least = Math.min(...values)
  const best = values.filter((entry) => entry === least).length === 1 ? values.indexOf(least) : null
  return { label, cells: values.map(format) as unknown as Three<string>, best }
}

/** null where nobody was measured. Best only where it is clearly so. */
function timeRow({ mechanisms }: CompareReport, label: string, time: (mechanism: MechanismReport) => Spread | undefined): Row | null {
  const times = mechanisms.map(time)
  if (times.every((entry) => entry === undefined)) return null
  const beats = (entry: Spread, other: Spread | undefined) => other === entry || (other !== undefined && clearlyFaster(entry, other))
  const best = times.findIndex((entry) => entry !== undefined && times.every((other) => beats(entry, other)))
  const cells = times.map((entry) => (entry === undefined ? '–' : `${seconds(entry.median)} ${spread(entry)}`)) as unknown as Three<string>
  return { label, cells, best: best < 0 ? null : best }
}
