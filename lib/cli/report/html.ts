import type { CompareReport, MechanismReport } from '../compare/report'
import type { LayerShape } from '../presets'
import { chartScript } from './chart-script'
import { bytes, count, exact, seconds, spread, units } from './format'
import { chartPage, escape, figure, notesSection } from './page'
import { type Section, headline, sectionsOf } from './rows'

/** The report as one self-contained page. */
export function htmlReport(report: CompareReport): string {
  const title = headline(report)
  const { settings, model } = report
  const body = `<header>
<h1>${escape(title)}</h1>
<p>One attention layer of hidden size ${exact(model.hiddenSize)}, ${escape(settings.dtype)}, batch ${settings.batch}; model of ${model.layers} layers; cache budget ${bytes(settings.memoryBytes)}.</p>
</header>
<section class="cards">${report.mechanisms.map((mechanism) => card(mechanism, report)).join('')}</section>
<section class="reading"><h2>What the numbers say</h2><ul>${report.reading.map(reading).join('')}</ul></section>
<section class="charts">
${report.machine === null ? '' : figure('decode', 'Decode', 'time of one step of one layer, by context length: median over the rounds')}
${figure('memory', 'Cache', `memory of all ${model.layers} layers${settings.batch > 1 ? ` and ${settings.batch} sequences` : ''}, by context length; both axes logarithmic`)}
${barFigure('Parameters', 'of one layer', report, (mechanism) => mechanism.parameters, (mechanism) => count(mechanism.parameters))}
${prefillFigure(report)}
</section>
<section><h2>All numbers</h2><div class="scroll">${table(report)}</div></section>
${notesSection(report.notes)}
<section><h2>How it was done</h2>${method(report)}</section>
<footer>${escape(report.package.name)} ${escape(report.package.version)}</footer>`
  return chartPage({ title, body, data: chartData(report), script: chartScript })
}

function card(mechanism: MechanismReport, { settings }: CompareReport): string {
  return `<article class="${mechanism.id}"><h3>${escape(mechanism.title)}</h3><p class="origin">${escape(mechanism.origin)}</p>
<dl><div><dt>cache per token, layer</dt><dd>${bytes(mechanism.kvBytesPerToken)}</dd></div>
<div><dt>parameters</dt><dd>${count(mechanism.parameters)}</dd></div>
<div><dt>tokens in ${bytes(settings.memoryBytes)}</dt><dd>${exact(mechanism.maxContext)}</dd></div></dl></article>`
}

function reading(sentence: string): string {
  const lead = /^[^:]{1,40}:/.exec(sentence)?.[0] ?? ''
  return `<li><strong>${escape(lead)}</strong>${escape(sentence.slice(lead.length))}</li>`
}

function barFigure(
  title: string, caption: string, { mechanisms }: CompareReport, value: (mechanism: MechanismReport) => number, text: (mechanism: MechanismReport) => string,
): string {
  const most = Math.max(...mechanisms.map(value))
  const bars = mechanisms.map((mechanism) => {
    const share = ((value(mechanism) / most) * 100).toFixed(2)
    const name = escape(mechanism.id.toUpperCase())
    return `<div class="bar ${mechanism.id}"><span>${name}</span><i><b style="width:${share}%"></b></i><em>${escape(text(mechanism))}</em></div>`
  })
  return `<figure><h2>${escape(title)}</h2><figcaption>${escape(caption)}</figcaption>${bars.join('')}</figure>`
}

function prefillFigure(report: CompareReport): string {
  if (report.mechanisms.some((mechanism) => mechanism.measured?.prefill === undefined)) return ''
  const caption = `time of ${exact(report.settings.prefill)} tokens in one layer: median over the rounds`
  const text = (mechanism: MechanismReport) => {
    const prefill = mechanism.measured?.prefill
    return prefill ? `${seconds(prefill.median)} ${spread(prefill)}` : ''
  }
  return barFigure('Prefill', caption, report, (mechanism) => mechanism.measured?.prefill?.median ?? 0, text)
}

function table(report: CompareReport): string {
  const head = report.mechanisms.map((mechanism) => `<th scope="col" class="${mechanism.id}">${escape(mechanism.title)}</th>`).join('')
  return `<table><thead><tr><td></td>${head}</tr></thead>${sectionsOf(report).map(tableSection).join('')}</table>`
}

function tableSection(section: Section): string {
  const rows = section.rows.map((row) => {
    const cells = row.cells.map((cell, i) => `<td${i === row.best ? ' class="best"' : ''}>${escape(cell)}</td>`).join('')
    return `<tr><th scope="row">${escape(row.label)}</th>${cells}</tr>`
  })
  return `<tbody><tr><th colspan="4" scope="rowgroup">${escape(section.title)}</th></tr>${rows.join('')}</tbody>`
}

function method({ machine, mechanisms, settings, model }: CompareReport): string {
  const dims = (shape: LayerShape) => Object.entries(shape).flatMap(([key, value]) => (key === 'kind' ? [] : [`${key} ${value}`])).join(', ')
  const shapes = mechanisms.map((mechanism) => `${mechanism.title}: ${dims(mechanism.shape)} (${mechanism.origin})`)
  const agreement = mechanisms.flatMap((mechanism) => (mechanism.measured?.formsDiffer === undefined ? [] : [mechanism.measured.formsDiffer.toExponential(1)]))
  const lines = [
    `Shapes after ${model.source}. ${shapes.join('. ')}.`,
    'A multiply-add counts as two operations. MLA is counted and measured in its absorbed form for decoding and in the form that the module chooses for prefill.',
    ...(machine === null ? ['Nothing was measured.'] : [
      `Random weights (a million numbers, repeated) and inputs from seed ${settings.seed}. Each length is decoded against a cache filled with random rows. After a warm-up the mechanisms take turns within each round; shown are medians, ± is half the distance of the quartiles, and the best time of a row is marked only where quartiles do not overlap and medians are 5% apart.`,
      `Before timing, outputs were checked to be finite${agreement.length > 0 ? `, and MLA's two forms to agree (largest difference ${agreement.join(', ')} of the largest output)` : ''}.`,
      `${machine.device}: ${machine.name}, ${machine.arch}, ${units(machine.device, machine.threads)}, ${bytes(machine.totalMemory)}; node ${machine.node}, ${machine.platform}.`,
    ]),
  ]
  return lines.map((line) => `<p>${escape(line)}</p>`).join('')
}

/** What the charts draw: columns of numbers, the first one their x. */
function chartData(report: CompareReport): unknown {
  const { mechanisms, settings } = report
  const longest = Math.max(...settings.lengths, ...mechanisms.map((mechanism) => mechanism.maxContext))
  const last = Math.min(2 ** 20, 2 ** Math.ceil(Math.log2(longest)))
  const grid: number[] = []
  for (let kvLen = Math.min(256, last); kvLen <= last; kvLen *= 2) grid.push(kvLen)
  const lengths = settings.lengths.filter((kvLen) => mechanisms.some((mechanism) => mechanism.measured?.decode.some((entry) => entry.kvLen === kvLen)))
  const decode = mechanisms.map((mechanism) => lengths.map((kvLen) => mechanism.measured?.decode.find((entry) => entry.kvLen === kvLen)?.median ?? null))
  const sizes = ({ kvBytesPerTokenModel }: MechanismReport) => grid.map((kvLen) => kvLen * kvBytesPerTokenModel * settings.batch)
  return {
    ids: mechanisms.map((mechanism) => mechanism.id),
    decode: [lengths, ...decode],
    memory: [grid, ...mechanisms.map(sizes), grid.map(() => settings.memoryBytes)],
    budget: `${bytes(settings.memoryBytes)} budget`,
  }
}
