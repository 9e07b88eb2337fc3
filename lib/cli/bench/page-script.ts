/** Runs in the page. Draws again when the colour scheme or the width changes: a canvas does not follow style sheets. */
export const pageScript = `'use strict'
const data = JSON.parse(document.getElementById('report').textContent)
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()
const tidy = (value) => value == null ? '–' : String(Number(value.toPrecision(3)))
const hue = (i) => 'hsl(' + (i * 360 / Math.max(1, data.ops.length)) + ' 70% ' + (matchMedia('(prefers-color-scheme: dark)').matches ? 65 : 40) + '%)'
function axis(label) {
  const font = '12px system-ui, sans-serif'
  return { label, stroke: style('muted'), font, labelFont: font, grid: { stroke: style('line'), width: 1 },
    ticks: { show: false }, size: 58, values: (u, splits) => splits.map((value) => value == null ? '' : tidy(value)) }
}
function op(name, i, lines) {
  return { label: name, stroke: hue(i), width: 2, spanGaps: true, ...(lines ? {} : { paths: () => null }),
    points: { show: true, size: 8, fill: hue(i), stroke: hue(i) }, value: (u, value) => tidy(value) }
}
function draw(id, columns, series, xLabel, yLabel) {
  const place = document.getElementById(id)
  if (columns[0].length === 0) return
  place.replaceChildren()
  const x = columns[0], y = columns.slice(1).flat().filter((value) => value != null)
  new uPlot({
    width: place.clientWidth, height: 340, padding: [12, 16, 0, 0], cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false, distr: 3, range: () => [x[0] / 1.5, x[x.length - 1] * 1.5] },
      y: { distr: 3, range: () => [Math.min(...y) / 1.5, Math.max(...y) * 1.5] } },
    axes: [axis(xLabel), axis(yLabel)], series: [{ label: xLabel, value: (u, value) => tidy(value) }, ...series],
  }, columns, place)
}
function drawBeside() {
  const place = document.getElementById('beside')
  if (!place) return
  place.replaceChildren()
  const labels = data.besideLabels, most = Math.max(1, ...data.beside.slice(1).flat().filter((value) => value != null))
  const series = (label, i, more) => ({ label, stroke: hue(i), fill: hue(i), width: 1, value: (u, value) => tidy(value), ...more })
  new uPlot({
    width: place.clientWidth, height: 340, padding: [12, 16, 0, 0], cursor: { drag: { x: false, y: false } },
    scales: { x: { time: false, range: () => [-0.6, labels.length - 0.4] }, y: { range: () => [0, most * 1.15] } },
    axes: [{ ...axis(''), size: 64, rotate: labels.length > 6 ? -35 : 0, splits: () => labels.map((_, i) => i), values: () => labels }, axis('times faster')],
    series: [{ label: 'case', value: (u, value) => labels[value] ?? '–' },
      series('end to end', 0, { paths: uPlot.paths.bars({ size: [0.5, 60] }), points: { show: false } }),
      series('kernel alone', 1, { paths: () => null, points: { show: true, size: 9, fill: hue(1), stroke: style('text') } }),
      { label: 'as fast', stroke: style('text'), width: 1.5, dash: [6, 5], points: { show: false }, value: (u, value) => tidy(value) }],
  }, [...data.beside, labels.map(() => 1)], place)
}
function drawAll() {
  drawBeside()
  const roofs = data.roofs.map((label, i) => ({ label, stroke: style(i === 0 ? 'text' : 'muted'), width: 1.5, dash: i === 0 ? [] : [6, 5],
    points: { show: false }, value: (u, value) => tidy(value) }))
  draw('roofline', data.roofline, [...roofs, ...data.ops.map((name, i) => op(name, i, false))], 'FLOP per byte', 'GFLOP/s')
  draw('speed', data.speed, data.ops.map((name, i) => op(name, i, true)), 'tokens', '% of peak')
}
drawAll()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll)
let pending = 0
addEventListener('resize', () => { clearTimeout(pending); pending = setTimeout(drawAll, 120) })
`
