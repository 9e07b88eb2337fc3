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
function drawAll() {
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
