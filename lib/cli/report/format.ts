import type { Spread } from '../compare/report'

const thousands = new Intl.NumberFormat('en-US')

/** 41943040 -> '41,943,040'. */
export function exact(value: number): string {
  return thousands.format(value)
}

/** Three significant digits without an exponent: 0.0123, 4.2, 137, 1234. */
export function short(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value)
  const rounded = Number(value.toPrecision(3))
  return Math.abs(rounded) >= 1e-6 && Math.abs(rounded) < 1e15 ? rounded.toLocaleString('en-US', { maximumFractionDigits: 9, useGrouping: false }) : String(rounded)
}

function scaled(value: number, base: number, units: readonly string[]): string {
  let step = 0
  // With a margin for the rounding: 999.6 becomes '1 k' and never '1000'.
  while (step < units.length - 1 && value / base ** step >= base * 0.9995) ++step
  return `${short(value / base ** step)} ${units[step] ?? ''}`.trimEnd()
}

/** 41943040 -> '41.9 M'. */
export function count(value: number): string {
  return scaled(value, 1000, ['', 'k', 'M', 'G', 'T', 'P'])
}

/** 131072 -> '128 KiB'. */
export function bytes(value: number): string {
  return scaled(value, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'])
}

/** Floating-point operations: 1.34e9 -> '1.34 GFLOP'. */
export function flops(value: number): string {
  return scaled(value, 1000, [' FLOP', ' kFLOP', ' MFLOP', ' GFLOP', ' TFLOP', ' PFLOP']).replace('  ', ' ')
}

/** 0.0312 -> '31.2 ms'. */
export function seconds(value: number): string {
  if (value >= 1) return `${short(value)} s`
  if (value >= 1e-3) return `${short(value * 1e3)} ms`
  return `${short(value * 1e6)} µs`
}

/** Half the distance of the quartiles, relative to the median: '±3%'. */
export function spread(of: Spread): string {
  if (of.rounds < 2) return 'one round'
  const percent = ((of.upper - of.lower) / 2 / of.median) * 100
  return `±${percent < 1 ? percent.toFixed(1) : Math.round(percent)}%`
}

/** 14.22 -> '14.2×'. */
export function times(ratio: number): string {
  return `${ratio >= 9.95 ? short(ratio) : ratio.toFixed(1)}×`
}

/** What a device computes with: '8 threads', '132 multiprocessors'. */
export function units(device: string, count: number): string {
  return `${exact(count)} ${device === 'cpu' ? 'threads' : 'multiprocessors'}`
}
