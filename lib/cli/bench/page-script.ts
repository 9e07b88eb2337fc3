/** Runs in the page. Draws again when the colour scheme or the width changes: a canvas does not follow style sheets. */
export const pageScript = `'use strict'
const data = JSON.parse(document.getElementById('report').textContent)
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()
const tidy = (value) => value == null ? '–' : String(Number(value.toPrecision(3)))
const dark = matchMedia('(prefers-color-scheme: dark)')
const hue = (i) => 'hsl(' + (215 + i * 360 / Math.max(1, data.ops.length)) % 360 + ' 65% ' + (dark.matches ? 65 : 40) + '%)'
const tokens = (value) => value >= 1024 && value % 1024 === 0 ? value / 1024 + 'k' : String(value)
const font = '12px system-ui, sans-serif'
const legend = { live: false, markers: { width: 0, fill: (u, i) => u.series[i].stroke(u, i) } }
function axis(label, more) {
  return { label, stroke: style('muted'), font, labelFont: font, labelSize: 18, gap: 6, grid: { stroke: style('line'), width: 1 },
    ticks: { show: false }, size: 48, values: (u, splits) => splits.map((value) => value == null ? '' : tidy(value)), ...more }
}
function plot(id, columns, options) {
  const place = document.getElementById(id)
  if (!place || columns[0].length === 0) return
  place.replaceChildren()
  new uPlot({ width: place.clientWidth, height: 340, padding: [12, 16, 0, 0], legend, cursor: { show: false }, ...options }, columns, place)
}
/** 1, 2 and 5 times powers of ten: the whole steps around all values. */
function steps(values) {
  const all = []
  for (let power = Math.floor(Math.log10(Math.min(...values))); power <= Math.ceil(Math.log10(Math.max(...values))); ++power) {
    for (const digit of [1, 2, 5]) all.push(Number((digit * 10 ** power).toPrecision(1)))
  }
  const low = all.findLastIndex((step) => step <= Math.min(...values)), high = all.findIndex((step) => step >= Math.max(...values))
  return all.slice(Math.max(0, low), high < 0 ? undefined : high + 1)
}
function logarithmic(values) {
  const all = steps(values)
  return { scale: { distr: 3, range: () => [all[0], all[all.length - 1]] }, axis: { splits: () => all, space: 24, filter: (u, splits) => splits } }
}
/** How many tokens each point is. */
function lengthsBeside(u) {
  u.ctx.save()
  u.ctx.font = 10 * devicePixelRatio + 'px system-ui, sans-serif'
  u.ctx.fillStyle = style('muted')
  u.ctx.textAlign = 'left'
  u.ctx.textBaseline = 'middle'
  for (const [x, y, length] of data.points) {
    u.ctx.fillText(tokens(length), u.valToPos(x, 'x', true) + 7 * devicePixelRatio, u.valToPos(y, 'y', true))
  }
  u.ctx.restore()
}
function drawRoofline() {
  const [x, ...rest] = data.roofline, [across, up] = [logarithmic(x), logarithmic(rest.flat().filter((value) => value != null))]
  const roofs = data.roofs.map((label, i) => (
    { label, stroke: style(i === 0 ? 'text' : 'muted'), width: 1.5, dash: i === 0 ? [] : [2 + 3 * i, 4], points: { show: false } }
  ))
  const ops = data.ops.map((label, i) => (
    { label, stroke: hue(i), paths: () => null, points: { show: true, size: 9, fill: hue(i), stroke: style('card') } }
  ))
  plot('roofline', data.roofline, { scales: { x: { time: false, ...across.scale }, y: up.scale }, hooks: { draw: [lengthsBeside] },
    axes: [axis('operations per byte', { ...across.axis, size: 30 }), axis('GFLOP/s', up.axis)], series: [{}, ...roofs, ...ops] })
}
function drawSpeed() {
  const x = data.speed[0], most = Math.max(100, ...data.speed.slice(1).flat().filter((value) => value != null))
  const ops = data.ops.map((label, i) => (
    { label, stroke: hue(i), width: 2, spanGaps: true, points: { show: true, size: 8, fill: hue(i), stroke: hue(i) } }
  ))
  const peak = { label: 'the peak', stroke: style('muted'), width: 1.5, dash: [6, 5], points: { show: false } }
  const lengths = { size: 30, splits: () => x, space: 24, grid: { show: false }, filter: (u, splits) => splits, values: (u, splits) => splits.map(tokens) }
  plot('speed', [...data.speed, x.map(() => 100)], {
    scales: { x: { time: false, distr: 3, range: () => [x[0] / 1.3, x[x.length - 1] * 1.3] }, y: { range: () => [0, most * 1.05] } },
    axes: [axis('tokens', lengths), axis('% of peak')], series: [{}, ...ops, peak],
  })
}
function drawBeside() {
  if (!data.beside) return
  const labels = data.besideLabels, turned = labels.length > 6
  const most = Math.max(1, ...data.beside.slice(1).flat().filter((value) => value != null))
  const names = { splits: () => labels.map((_, i) => i), values: () => labels }
  const cases = { label: undefined, size: turned ? 76 : 30, rotate: turned ? -35 : 0, grid: { show: false }, ...names }
  const point = { show: true, size: 10, fill: style('card'), stroke: style('text'), width: 2 }
  plot('beside', [...data.beside, labels.map(() => 1)], {
    scales: { x: { time: false, range: () => [-0.6, labels.length - 0.4] }, y: { range: () => [0, most * 1.15] } },
    axes: [axis('', cases), axis('times as fast')],
    series: [{}, { label: 'end to end', stroke: hue(0), fill: hue(0), paths: uPlot.paths.bars({ size: [0.5, 60] }), points: { show: false } },
      { label: 'kernel alone', stroke: style('text'), paths: () => null, points: point },
      { label: 'as fast', stroke: style('muted'), width: 1.5, dash: [6, 5], points: { show: false } }],
  })
}
function drawAll() {
  drawRoofline()
  drawSpeed()
  drawBeside()
}
drawAll()
dark.addEventListener('change', drawAll)
let pending = 0
addEventListener('resize', () => { clearTimeout(pending); pending = setTimeout(drawAll, 120) })
`
