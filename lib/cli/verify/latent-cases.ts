import { invoke, native, type TensorHandle } from '../../native'
import { dtypeCode, type DType } from '../../tensor/dtype'
import type { Case } from './case'
import { device, download, randomNumbers, upload, withHandles } from './data'
import { roundTo, unitRoundoff } from './rounding'

// A row of float8_e4m3: native/core/latent_rows.h.
const [rank, rope, group, bytes, largest, pageSize] = [512, 64, 128, 656, 448, 16] as const
const width = rank + rope

/** What rows [latent | rope key] stand for once they were stored. */
export function storedLatents(rows: Float64Array | Float32Array): Float64Array {
  const stored = new Float64Array(rows.length)
  for (let row = 0; row < rows.length; row += width) {
    for (let begin = row; begin < row + rank; begin += group) {
      const most = (rows.subarray(begin, begin + group) as Float64Array).reduce((max, x) => Math.max(max, Math.abs(x)), 0)
      const scale = Math.max(roundTo('float32', most / largest), 2 ** -126)
      for (let i = begin; i < begin + group; ++i) stored[i] = roundTo('float8_e4m3', roundTo('float32', (rows[i] ?? NaN) / scale)) * scale
    }
    for (let i = row + rank; i < row + width; ++i) stored[i] = roundTo('bfloat16', rows[i] ?? NaN)
  }
  return stored
}

/** Pages that hold the rows in their slots. */
export function latentPages(rows: Float64Array, dtype: DType, slots: Int32Array, count: number, keep: (handle: TensorHandle) => TensorHandle): TensorHandle {
  const part = (begin: number, dim: number): TensorHandle => {
    const numbers = rows.filter((_, i) => i % width >= begin && i % width < begin + dim)
    return keep(upload(dtype, [1, slots.length, dim], numbers))
  }
  const pages = keep(invoke(() => native.tensorZeros(device, dtypeCode('float8_e4m3'), [count, pageSize, bytes])))
  invoke(() => { native.latentAppend(part(0, rank), part(rank, rope), pages, slots) })
  return pages
}

export const latentRowCases: readonly Case[] = [{
  name: 'rows into pages of float8_e4m3 and back',
  run: (dtype) => withHandles((keep) => {
    const [count, begin, end] = [2, 3, 21]
    const rows = randomNumbers(94, end * width, dtype)
    const slots = Int32Array.from({ length: end }, (_, i) => (i + pageSize) % (2 * pageSize)) // page 1, then page 0
    const pages = latentPages(rows, dtype, slots, count, keep)
    const gathered = keep(invoke(() => native.latentGather(pages, Int32Array.of(1, 0), begin, end, dtypeCode(dtype))))
    const expected = storedLatents(rows).slice(begin * width)
    // Exact where the numbers go back as float32, but for the product with the scale.
    const most = expected.reduce((max, x) => Math.max(max, Math.abs(x)), 0)
    return [{ what: 'rows', actual: download(gathered, expected.length), expected, bound: most * 2 * unitRoundoff(dtype) }]
  }),
}]
