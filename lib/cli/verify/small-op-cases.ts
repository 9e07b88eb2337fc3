import { invoke, native, type TensorHandle } from '../../native'
import { nativeRopeOptions } from '../../ops/rope-config'
import { type DType, dtypeCode } from '../../tensor/dtype'
import type { Case } from './case'
import { device, download, downloadOf, randomNumbers, upload, withHandles } from './data'
import { roundTo, sumRounding, unitRoundoff } from './rounding'

const epsilon = unitRoundoff('float32')

function largest(numbers: ArrayLike<number>): number {
  return Array.from(numbers).reduce((most, value) => Math.max(most, Math.abs(value)), 0)
}

/** y[b][r] = x[b][r] · weight[b]ᵀ (+ bias), with the rounding of a float32 sum of the size of Σ |x w|. */
function product(x: Float64Array, weight: Float64Array, rows: number, depth: number, outs: number, bias?: Float64Array) {
  const y = new Float64Array(rows * outs)
  let absolute = 0
  for (let row = 0; row < rows; ++row) {
    for (let o = 0; o < outs; ++o) {
      let sum = bias?.[o] ?? 0
      let size = Math.abs(sum)
      for (let d = 0; d < depth; ++d) {
        const term = (x[row * depth + d] ?? NaN) * (weight[o * depth + d] ?? NaN)
        sum += term
        size += Math.abs(term)
      }
      y[row * outs + o] = sum
      absolute = Math.max(absolute, size)
    }
  }
  return { y, rounding: sumRounding(depth) * absolute }
}

function linearCase(name: string, seed: number, rows: number, depth: number, outs: number, withBias: boolean): Case {
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      const x = randomNumbers(seed, rows * depth, dtype)
      const weight = randomNumbers(seed + 1, outs * depth, dtype)
      const bias = withBias ? randomNumbers(seed + 2, outs, dtype) : undefined
      const biasHandle = bias ? keep(upload(dtype, [outs], bias)) : null
      const handle = keep(invoke(() => native.linear(keep(upload(dtype, [rows, depth], x)), keep(upload(dtype, [outs, depth], weight)), biasHandle, null)))
      const { y, rounding } = product(x, weight, rows, depth, outs, bias)
      return [{ what: 'y', actual: download(handle, y.length), expected: y, bound: rounding + unitRoundoff(dtype) * 2 * largest(y) }]
    }),
  }
}

function perHeadCase(name: string, seed: number, outs: number): Case {
  const [rows, heads, depth] = [5, 3, 48]
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      const x = randomNumbers(seed, rows * heads * depth, dtype)
      const weight = randomNumbers(seed + 1, heads * outs * depth, dtype)
      const handle = keep(invoke(() => native.linearPerHead(keep(upload(dtype, [rows, heads, depth], x)), keep(upload(dtype, [heads, outs, depth], weight)))))
      const y = new Float64Array(rows * heads * outs)
      let rounding = 0
      for (let row = 0; row < rows; ++row) {
        for (let h = 0; h < heads; ++h) {
          const at = row * heads + h
          const one = product(x.subarray(at * depth, (at + 1) * depth), weight.subarray(h * outs * depth, (h + 1) * outs * depth), 1, depth, outs)
          y.set(one.y, at * outs)
          rounding = Math.max(rounding, one.rounding)
        }
      }
      return [{ what: 'y', actual: download(handle, y.length), expected: y, bound: rounding + unitRoundoff(dtype) * 2 * largest(y) }]
    }),
  }
}

export const linearCases: readonly Case[] = [
  linearCase('7 rows, 33 features to 19, with a bias', 41, 7, 33, 19, true),
  linearCase('1 row, 512 features to 130', 42, 1, 512, 130, false),
  linearCase('70 rows, 300 features to 96', 43, 70, 300, 96, false),
  linearCase('70 rows, 544 features to 96, with a bias', 45, 70, 544, 96, true),
  perHeadCase('one weight per head', 44, 33),
  // Rows of y that are multiples of 16 bytes: libraries of vendors take no others.
  perHeadCase('one weight per head, 48 features to 40', 46, 40),
]

export const rmsNormCases: readonly Case[] = [{
  name: '5 rows of 200',
  run: (dtype) => withHandles((keep) => {
    const [rows, width, eps] = [5, 200, 1e-5]
    const x = randomNumbers(51, rows * width, dtype)
    const weight = randomNumbers(52, width, dtype)
    const handle = keep(invoke(() => native.rmsNorm(keep(upload(dtype, [rows, width], x)), keep(upload(dtype, [width], weight)), eps, null)))
    const y = new Float64Array(x.length)
    for (let row = 0; row < rows; ++row) {
      const values = x.subarray(row * width, (row + 1) * width)
      const scale = 1 / Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / width + eps)
      values.forEach((value, i) => { y[row * width + i] = value * scale * (weight[i] ?? NaN) })
    }
    return [{ what: 'y', actual: download(handle, y.length), expected: y, bound: largest(y) * (2 * unitRoundoff(dtype) + sumRounding(width)) }]
  }),
}]

interface RopeRows {
  readonly heads: number
  readonly width: number
  readonly dim: number
  readonly theta: number
  readonly interleaved: boolean
}

/** Rows [token, head, width] with their last `dim` features rotated. */
function rotatedRows(x: Float64Array, positions: readonly number[], { heads, width, dim, theta, interleaved }: RopeRows): Float64Array {
  const y = x.slice()
  positions.forEach((position, token) => {
    for (let h = 0; h < heads; ++h) {
      for (let i = 0; i < dim / 2; ++i) {
        const begin = (token * heads + h) * width + width - dim
        const [first, second] = interleaved ? [begin + 2 * i, begin + 2 * i + 1] : [begin + i, begin + i + dim / 2]
        const angle = position * theta ** ((-2 * i) / dim)
        const [a, b] = [x[first] ?? NaN, x[second] ?? NaN]
        y[first] = a * Math.cos(angle) - b * Math.sin(angle)
        y[second] = a * Math.sin(angle) + b * Math.cos(angle)
      }
    }
  })
  return y
}

/** Angles are float64: cos, sin, two products and a sum are float32, the output is rounded once. */
function ropeBound(x: Float64Array, dtype: DType): number {
  return 2 * largest(x) * (unitRoundoff(dtype) + 4 * epsilon)
}

function ropeCase(name: string, seed: number, interleaved: boolean): Case {
  const [batch, len, heads, width, dim, theta] = [2, 9, 3, 80, 64, 10000]
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      const x = randomNumbers(seed, batch * len * heads * width, dtype)
      const positions = Array.from({ length: batch * len }, (_, i) => (i * 37) % 4096)
      const options = nativeRopeOptions('config', { theta, interleaved }, dim)
      const positionsHandle = keep(upload('int32', [batch, len], positions))
      const handle = keep(invoke(() => native.rope(keep(upload(dtype, [batch, len, heads, width], x)), positionsHandle, null, ...options)))
      const y = rotatedRows(x, positions, { heads, width, dim, theta, interleaved })
      return [{ what: 'y', actual: download(handle, y.length), expected: y, bound: ropeBound(x, dtype) }]
    }),
  }
}

export const ropeCases: readonly Case[] = [ropeCase('pairs (2i, 2i + 1)', 61, true), ropeCase('pairs (i, i + dim / 2)', 62, false)]

export const ropeAppendCases: readonly Case[] = [{
  name: 'rows rotated into given slots, one of them left out',
  run: (dtype) => withHandles((keep) => {
    const [numPages, pageSize, heads, width, theta] = [3, 4, 2, 32, 10000]
    const slots = Int32Array.from([9, 2, -1, 0, 11])
    const positions = [5, 6, 7, 100, 101]
    const x = randomNumbers(63, slots.length * heads * width, dtype)
    const pages = keep(invoke(() => native.tensorZeros(device, dtypeCode(dtype), [numPages, pageSize, heads, width])))
    const options = nativeRopeOptions('config', { theta, interleaved: false }, width)
    const [rows, at] = [keep(upload(dtype, [1, slots.length, heads, width], x)), keep(upload('int32', [1, slots.length], positions))]
    invoke(() => { native.ropeAppend(rows, pages, slots, null, at, ...options) })
    const rotated = rotatedRows(x, positions, { heads, width, dim: width, theta, interleaved: false })
    const expected = new Float64Array(numPages * pageSize * heads * width)
    slots.forEach((slot, row) => {
      if (slot >= 0) expected.set(rotated.subarray(row * heads * width, (row + 1) * heads * width), slot * heads * width)
    })
    return [{ what: 'pages', actual: download(pages, expected.length), expected, bound: ropeBound(x, dtype) }]
  }),
}]

export const mergeCases: readonly Case[] = [{
  name: '3 states, one of them without keys',
  run: (dtype) => withHandles((keep) => {
    const [batch, len, heads, dim] = [2, 3, 4, 40]
    const states = [71, 73, 75].map((seed, s) => ({
      out: randomNumbers(seed, batch * len * heads * dim, dtype),
      lse: s === 2 ? new Float64Array(batch * heads * len).fill(-Infinity) : randomNumbers(seed + 1, batch * heads * len, 'float32'),
    }))
    const result = invoke(() => native.mergeStates(
      states.map((state) => keep(upload(dtype, [batch, len, heads, dim], state.out))),
      states.map((state) => keep(upload('float32', [batch, heads, len], state.lse))),
    ))
    const [outHandle, lseHandle] = result.map(keep) as [TensorHandle, TensorHandle]
    const out = new Float64Array(batch * len * heads * dim)
    const lse = new Float64Array(batch * heads * len)
    for (let b = 0; b < batch; ++b) {
      for (let h = 0; h < heads; ++h) {
        for (let i = 0; i < len; ++i) {
          const at = (b * heads + h) * len + i
          const weights = states.map((state) => Math.exp(state.lse[at] ?? NaN))
          const total = weights.reduce((sum, weight) => sum + weight, 0)
          lse[at] = Math.log(total)
          for (let d = 0; d < dim; ++d) {
            const from = ((b * len + i) * heads + h) * dim + d
            out[from] = states.reduce((sum, state, s) => sum + (weights[s] ?? NaN) * (state.out[from] ?? NaN), 0) / total
          }
        }
      }
    }
    return [
      { what: 'out', actual: download(outHandle, out.length), expected: out, bound: 4 * (2 * unitRoundoff(dtype) + 16 * epsilon) },
      { what: 'lse', actual: download(lseHandle, lse.length), expected: lse, bound: 16 * epsilon * (1 + largest(lse)) },
    ]
  }),
}]

/** A copy of numbers of one dtype to another, or the same, and what arrives. */
function copyCase(name: string, seed: number, from: (dtype: DType) => DType): Case {
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      const length = 1000
      const numbers = from(dtype) === 'int32' ? Float64Array.from({ length }, (_, i) => i * 7919 - 3_000_000) : randomNumbers(seed, length, from(dtype), 3)
      const source = keep(upload(from(dtype), [length], numbers))
      const copy = keep(invoke(() => native.tensorEmpty(device, dtypeCode(dtype), [length])))
      invoke(() => { native.copy(source, copy) })
      return [{ what: 'y', actual: downloadOf(dtype, copy, length), expected: numbers.map((value) => roundTo(dtype, value)), bound: 0 }]
    }),
  }
}

/** Conversions from float32 to the dtype and back: exact, since each has one right answer. */
const thereAndBack: Case = {
  name: 'conversion from float32 and back, rounding to nearest even',
  run: (dtype) => withHandles((keep) => {
    const length = 1000
    const numbers = dtype === 'int32'
      ? Float64Array.from({ length }, (_, i) => i * 7919 - 3_000_000)
      : randomNumbers(81, length, 'float32', 3)
    const source = keep(upload('float32', [length], numbers))
    const converted = keep(invoke(() => native.tensorEmpty(device, dtypeCode(dtype), [length])))
    const back = keep(invoke(() => native.tensorEmpty(device, dtypeCode('float32'), [length])))
    invoke(() => { native.copy(source, converted) })
    invoke(() => { native.copy(converted, back) })
    return [{ what: 'y', actual: download(back, length), expected: numbers.map((value) => roundTo(dtype, value)), bound: 0 }]
  }),
}

export const copyCases: readonly Case[] = [
  thereAndBack,
  copyCase('the same numbers', 82, (dtype) => dtype),
  // Integers have no rounding to nearest: they are copied.
  copyCase('conversion from another 16-bit dtype, rounding to nearest even', 83, (dtype) => {
    if (dtype === 'int32') return dtype
    return dtype === 'bfloat16' ? 'float16' : 'bfloat16'
  }),
]

/** The moments of normal numbers within six standard errors, and each number a function of seed and index alone. */
export const randnCases: readonly Case[] = [{
  name: 'moments of 200,000 numbers, and the same numbers again',
  run: (dtype) => withHandles((keep) => {
    const length = 200_000
    const draw = (seed: number, count: number) => download(keep(invoke(() => native.randn(device, dtypeCode(dtype), [count], seed))), count)
    const numbers = draw(5, length)
    const moment = (power: number) => numbers.reduce((sum, value) => sum + value ** power, 0) / length
    // Rounding to the dtype is symmetric; what it adds to the variance is below the square of its unit at 4.
    const rounding = (4 * unitRoundoff(dtype)) ** 2
    return [
      { what: 'mean', actual: [moment(1)], expected: [0], bound: 6 / Math.sqrt(length) },
      { what: 'variance', actual: [moment(2)], expected: [1], bound: 6 * Math.sqrt(2 / length) + rounding },
      { what: 'fourth moment', actual: [moment(4)], expected: [3], bound: 6 * Math.sqrt(96 / length) + 20 * rounding },
      { what: 'again', actual: draw(5, 1000), expected: numbers.subarray(0, 1000), bound: 0 },
    ]
  }),
}]
