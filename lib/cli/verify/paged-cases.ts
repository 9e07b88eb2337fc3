import { invoke, native } from '../../native'
import { dtypeCode, type DType } from '../../tensor/dtype'
import type { Case } from './case'
import { device, download, downloadOf, randomNumbers, upload, withHandles } from './data'
import { roundTo } from './rounding'

const [numPages, pageSize, heads, dim] = [5, 4, 2, 24] as const
const width = heads * dim

const zeroPages = (dtype: DType) => native.tensorZeros(device, dtypeCode(dtype), [numPages, pageSize, heads, dim])

/** Integers are checked as they are, floats after rounding: moving data must not change a bit of it. */
function content(seed: number, length: number, dtype: DType): Float64Array {
  return dtype === 'int32' ? Float64Array.from({ length }, (_, i) => i * 31 + seed) : randomNumbers(seed, length, dtype)
}

export const pagedAppendCases: readonly Case[] = [{
  name: 'rows to given slots, one of them left out',
  run: (dtype) => withHandles((keep) => {
    const slots = Int32Array.from([13, 2, -1, 7, 19, 0])
    const rows = content(91, slots.length * width, dtype)
    const pages = keep(invoke(() => zeroPages(dtype)))
    invoke(() => { native.pagedAppend(keep(upload(dtype, [2, 3, heads, dim], rows)), pages, slots, null) })
    const expected = new Float64Array(numPages * pageSize * width)
    slots.forEach((slot, row) => {
      if (slot >= 0) expected.set(rows.subarray(row * width, (row + 1) * width), slot * width)
    })
    return [{ what: 'pages', actual: download(pages, expected.length), expected, bound: 0 }]
  }),
}, {
  name: 'rows into pages of float8_e4m3, over scales',
  without: ['float8_e4m3'],
  run: (dtype) => withHandles((keep) => {
    const slots = Int32Array.from([3, 17, -1, 8])
    const scales = [0.3, 1.7].map((scale) => roundTo('float32', scale))
    const rows = randomNumbers(95, slots.length * width, dtype, 200) // some beyond 448
    const pages = keep(invoke(() => zeroPages('float8_e4m3')))
    const divisors = keep(upload('float32', [heads], scales))
    invoke(() => { native.pagedAppend(keep(upload(dtype, [1, slots.length, heads, dim], rows)), pages, slots, divisors) })
    const expected = new Float64Array(numPages * pageSize * width)
    slots.forEach((slot, row) => {
      for (let i = 0; slot >= 0 && i < width; ++i) {
        const quotient = roundTo('float32', (rows[row * width + i] ?? NaN) / (scales[Math.floor(i / dim)] ?? NaN))
        expected[slot * width + i] = roundTo('float8_e4m3', Math.min(448, Math.max(-448, quotient)))
      }
    })
    return [{ what: 'pages', actual: download(pages, expected.length), expected, bound: 0 }]
  }),
}]

export const pageCopyCases: readonly Case[] = [{
  name: 'two whole pages',
  run: (dtype) => withHandles((keep) => {
    const data = content(92, numPages * pageSize * width, dtype)
    const pages = keep(upload(dtype, [numPages, pageSize, heads, dim], data))
    invoke(() => { native.pageCopy(pages, Int32Array.from([0, 3, 4, 1])) })
    const expected = data.slice()
    const pageWidth = pageSize * width
    for (const [from, to] of [[0, 3], [4, 1]] as const) expected.set(data.subarray(from * pageWidth, (from + 1) * pageWidth), to * pageWidth)
    return [{ what: 'pages', actual: downloadOf(dtype, pages, expected.length), expected, bound: 0 }]
  }),
}]

export const pagedGatherCases: readonly Case[] = [{
  name: 'rows 3 to 11 of a sequence of three pages',
  run: (dtype) => withHandles((keep) => {
    const data = content(93, numPages * pageSize * width, dtype)
    const pages = keep(upload(dtype, [numPages, pageSize, width], data))
    const pageList = [4, 0, 2]
    const handle = keep(invoke(() => native.pagedGather(pages, Int32Array.from(pageList), 3, 11)))
    const expected = new Float64Array(8 * width)
    for (let row = 3; row < 11; ++row) {
      const slot = (pageList[Math.floor(row / pageSize)] ?? NaN) * pageSize + (row % pageSize)
      expected.set(data.subarray(slot * width, (slot + 1) * width), (row - 3) * width)
    }
    return [{ what: 'rows', actual: downloadOf(dtype, handle, expected.length), expected, bound: 0 }]
  }),
}]
