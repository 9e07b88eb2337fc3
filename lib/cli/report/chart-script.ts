/** Runs in the page. Draws again when the colour scheme or the width changes: a canvas does not follow style sheets. */
export const chartScript = `'use strict'
const data = JSON.parse(document.getElementById('report').textContent)
const names = data.ids.map((id) => id.toUpperCase())
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()
const tidy = (value) => String(Number(value.toPrecision(3)))
const tokens = (value) => value >= 1024 && value % 1024 === 0 ? value / 1024 + 'k' : String(value)
const time = (value) => value == null ? '–' : value === 0 ? '0' : value >= 1 ? tidy(value) + ' s' : value >= 1e-3 ? tidy(value * 1e3) + ' ms' : tidy(value * 1e6) + ' µs'
function size(value) {
  if (value == null) return '–'
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; ++unit }
  return tidy(value) + ' ' + units[unit]
}
function axis(values, extra) {
  return Object.assign({ stroke: color('muted'), font: '12px system-ui, sans-serif', grid: { stroke: color('line'), width: 1 }, ticks: { show: false }, gap: 8,
    values: (u, splits) => splits.map((value) => value == null ? '' : values(value)) }, extra)
}
function line(label, id, format) {
  return { label, stroke: color(id), width: 2.5, points: { size: 7, fill: color('card'), stroke: color(id), width: 2 }, value: (u, value) => format(value) }
}
function draw(id, columns, series, yScale, yAxis) {
  const place = document.getElementById(id)
  if (!place || columns[0].length === 0) return
  place.replaceChildren()
  const x = columns[0]
  const pad = Math.SQRT2
  new uPlot({
    width: place.clientWidth, height: 300, padding: [12, 16, 0, 0],
    legend: { markers: { width: 0, fill: (u, i) => u.series[i].stroke(u, i) } },
    cursor: { drag: { x: false, y: false }, points: { size: 9 } },
    scales: { x: { time: false, distr: 3, log: 2, range: () => [x[0] / pad, x[x.length - 1] * pad] }, y: yScale },
    axes: [axis(tokens, { splits: () => x, grid: { show: false }, space: 1, rotate: x.length > 12 ? -45 : 0, size: x.length > 12 ? 46 : 32 }), yAxis],
    series: [{ label: 'context', value: (u, value) => value == null ? '–' : value.toLocaleString('en-US') + ' tokens' }, ...series],
  }, columns, place)
}
function drawAll() {
  draw('decode', data.decode, names.map((name, i) => line(name, data.ids[i], time)), { range: (u, min, max) => [0, max * 1.1] }, axis(time, { size: 70 }))
  const budget = { label: data.budget, stroke: color('budget'), width: 1.5, dash: [6, 5], points: { show: false }, value: () => '' }
  const memory = names.map((name, i) => Object.assign(line(name, data.ids[i], size), { points: { show: false } }))
  const all = data.memory.slice(1).flat()
  const low = Math.floor(Math.log2(Math.min(...all))), high = Math.ceil(Math.log2(Math.max(...all)))
  const step = Math.max(1, Math.ceil((high - low) / 7))
  const splits = []
  for (let power = low; power <= high; power += step) splits.push(2 ** power)
  draw('memory', data.memory, [...memory, budget], { distr: 3, log: 2, range: () => [2 ** low, 2 ** high] }, axis(size, { size: 76, splits: () => splits, space: 1 }))
}
drawAll()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll)
let pending = 0
let width = innerWidth
addEventListener('resize', () => {
  if (innerWidth === width) return
  width = innerWidth
  clearTimeout(pending)
  pending = setTimeout(drawAll, 120)
})
`
