import { linear } from '../../ops/linear'
import { mergeStates } from '../../ops/merge-states'
import { quantizeFloat8 } from '../../ops/quantize-float8'
import { rmsNorm } from '../../ops/rms-norm'
import { rope } from '../../ops/rope'
import { bytesPerElement } from '../../tensor/dtype'
import { Tensor } from '../../tensor/tensor'
import type { Check } from '../verify/case'
import { roundTo, sumRounding, unitRoundoff } from '../verify/rounding'
import { type BenchCase, openCase, readPart, sampleOf } from './case'
import type { BenchSettings } from './request'

const epsilon = unitRoundoff('float32')

function largest(numbers: Iterable<number>): number {
  let most = 0
  for (const value of numbers) most = Math.max(most, Math.abs(value))
  return most
}

export function ropeCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, numQoHeads, headDimQk: dim, dtype } = settings
  const elements = batch * length * numQoHeads * dim
  const theta = 10000
  return {
    op: 'rope', length, flops: 3 * elements, bytes: 2 * bytesPerElement(dtype) * elements,
    open: () => openCase(settings, (tensors) => {
      const [x, out] = [tensors.normal([batch, length, numQoHeads, dim]), tensors.out([batch, length, numQoHeads, dim])]
      const run = () => { rope(x, { interleaved: false, theta }, { out }) }
      const check = () => {
        run()
        return sampleOf(length).map((position): Check => {
          const row = [[batch - 1, batch], [position, position + 1], [numQoHeads - 1, numQoHeads]] as const
          const from = readPart(x, row)
          const expected = Float64Array.from(from, (value, d) => {
            const i = d % (dim / 2)
            const angle = position * theta ** ((-2 * i) / dim)
            const other = from[d < dim / 2 ? d + dim / 2 : i] ?? NaN
            return value * Math.cos(angle) + (d < dim / 2 ? -1 : 1) * other * Math.sin(angle)
          })
          // Angles are float64; cos, sin, two products and a sum are float32, the output is rounded once.
          return { what: `row ${position}`, actual: readPart(out, row), expected, bound: 2 * largest(from) * (unitRoundoff(dtype) + 4 * epsilon) }
        })
      }
      return { run, check }
    }),
  }
}

export function normCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, hiddenSize: width, dtype } = settings
  const [rows, eps] = [batch * length, 1e-6]
  return {
    op: 'norm', length, flops: 4 * rows * width, bytes: bytesPerElement(dtype) * (2 * rows * width + width),
    open: () => openCase(settings, (tensors) => {
      const [x, weight, out] = [tensors.normal([rows, width]), tensors.normal([width]), tensors.out([rows, width])]
      const run = () => { rmsNorm(x, weight, { eps, out }) }
      const check = () => {
        run()
        const weights = readPart(weight, [])
        return sampleOf(rows).map((row): Check => {
          const from = readPart(x, [[row, row + 1]])
          const factor = 1 / Math.sqrt(from.reduce((sum, value) => sum + value * value, 0) / width + eps)
          const expected = Float64Array.from(from, (value, i) => value * factor * (weights[i] ?? NaN))
          // The root halves the error of the sum of squares; the output is rounded once.
          const bound = largest(expected) * (sumRounding(width) / 2 + 6 * epsilon + 1.01 * unitRoundoff(dtype))
          return { what: `row ${row}`, actual: readPart(out, [[row, row + 1]]), expected, bound }
        })
      }
      return { run, check }
    }),
  }
}

/** A square projection at the hidden size. */
export function linearCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, hiddenSize: width, dtype } = settings
  const rows = batch * length
  return {
    op: 'linear', length, flops: 2 * rows * width * width, bytes: bytesPerElement(dtype) * (2 * rows * width + width * width),
    open: () => openCase(settings, (tensors) => {
      const [x, weight, out] = [tensors.normal([rows, width]), tensors.normal([width, width]), tensors.out([rows, width])]
      const run = () => { linear(x, weight, { out }) }
      const check = () => {
        run()
        return sampleOf(rows).flatMap((row) => sampleOf(width).map((column): Check => {
          const [a, b] = [readPart(x, [[row, row + 1]]), readPart(weight, [[column, column + 1]])]
          const size = a.reduce((sum, value, i) => sum + Math.abs(value * (b[i] ?? NaN)), 0)
          const y = a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0)
          const bound = sumRounding(width) * size + 2 * unitRoundoff(dtype) * Math.abs(y)
          return { what: `element ${row}, ${column}`, actual: readPart(out, [[row, row + 1], [column, column + 1]]), expected: [y], bound }
        }))
      }
      return { run, check }
    }),
  }
}

/** Queries into float8_e4m3, with the scales of their kv heads: a comparison and a division for each element. */
export function quantizeCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, numQoHeads, numKvHeads, headDimQk: dim, dtype, device } = settings
  const [groupSize, elements] = [numQoHeads / numKvHeads, batch * length * numQoHeads * dim]
  return {
    op: 'quantize', length, flops: 2 * elements, bytes: (bytesPerElement(dtype) + 1) * elements + 4 * batch * numKvHeads,
    open: () => openCase(settings, (tensors) => {
      const x = tensors.normal([batch, length, numQoHeads, dim])
      const out = {
        codes: tensors.keep(Tensor.empty(x.shape, { dtype: 'float8_e4m3', device })), scales: tensors.keep(Tensor.empty([batch, numKvHeads], { device })),
      }
      const run = () => { quantizeFloat8(x, { groupSize, out }) }
      const check = () => {
        run()
        const [last, heads] = [[batch - 1, batch], [numQoHeads - groupSize, numQoHeads]] as const
        const scale = roundTo('float32', largest(readPart(x, [last, [0, length], heads])) / 448)
        return [
          { what: 'scale', actual: readPart(out.scales, [last, [numKvHeads - 1, numKvHeads]]), expected: [scale], bound: 0 },
          ...sampleOf(length).map((row): Check => {
            const part = [last, [row, row + 1], heads] as const
            const expected = readPart(x, part).map((value) => roundTo('float8_e4m3', roundTo('float32', value / scale)))
            return { what: `row ${row}`, actual: readPart(out.codes, part), expected, bound: 0 }
          }),
        ]
      }
      return { run, check }
    }),
  }
}

/** Two states; there is no `out` here: the results are allocated in every call. */
export function mergeCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, numQoHeads, headDimVo, device, dtype } = settings
  const elements = batch * length * numQoHeads * headDimVo
  return {
    op: 'merge', length, flops: 4 * elements, bytes: 3 * (bytesPerElement(dtype) * elements + 4 * batch * numQoHeads * length),
    open: () => openCase(settings, (tensors) => {
      const states = [101, 102].map((seed) => ({
        out: tensors.normal([batch, length, numQoHeads, headDimVo]),
        lse: tensors.keep(Tensor.randn([batch, numQoHeads, length], { device, seed })),
      }))
      const run = () => {
        const merged = mergeStates(states)
        merged.out.dispose()
        merged.lse.dispose()
      }
      const check = () => {
        const merged = mergeStates(states)
        try {
          return sampleOf(length).map((i): Check => {
            const h = i % numQoHeads
            const row = [[batch - 1, batch], [i, i + 1], [h, h + 1]] as const
            const weights = states.map(({ lse }) => Math.exp(readPart(lse, [[batch - 1, batch], [h, h + 1], [i, i + 1]])[0] ?? NaN))
            const [first, second] = states.map(({ out }) => readPart(out, row)) as [Float32Array, Float32Array]
            const [a, b] = weights as [number, number]
            const expected = Float64Array.from(first, (value, d) => (a * value + b * (second[d] ?? NaN)) / (a + b))
            const bound = Math.max(largest(first), largest(second)) * (2 * unitRoundoff(dtype) + 16 * epsilon)
            return { what: `row ${i} of head ${h}`, actual: readPart(merged.out, row), expected, bound }
          })
        } finally {
          merged.out.dispose()
          merged.lse.dispose()
        }
      }
      return { run, check }
    }),
  }
}
