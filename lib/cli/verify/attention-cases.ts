import { invoke, native, type NativeAttentionResult, type TensorHandle } from '../../native'
import type { DType } from '../../tensor/dtype'
import { type HeadResult, attentionBounds, referenceHead } from './attention-reference'
import type { Case, Check } from './case'
import { attentionOptions, download, outAndLse, randomNumbers, upload, withHandles } from './data'
import { roundTo } from './rounding'

/** One sequence: row r, head h of its tensors begins at (first row + r) · heads · dim + h · dim. */
interface Sequence {
  readonly qoBegin: number
  readonly qoLen: number
  readonly kvBegin: number
  readonly kvLen: number
}
interface Heads {
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
}
interface Extras {
  readonly causal?: boolean
  readonly windowLeft?: number
  readonly logitSoftcap?: number
  readonly alibi?: boolean
  readonly sinks?: boolean
}

const rows = (data: Float64Array, begin: number, len: number, heads: number, dim: number, h: number) =>
  Array.from({ length: len }, (_, r) => data.subarray(((begin + r) * heads + h) * dim, ((begin + r) * heads + h + 1) * dim))

/** Checks of out [rows, heads, dim] and lse, whose layout differs between dense and packed calls. */
function compare(
  outHandle: TensorHandle, lseHandle: TensorHandle, heads: Heads, sequences: readonly Sequence[], dtype: DType,
  head: (sequence: Sequence, h: number) => HeadResult, lseAt: (sequence: Sequence, b: number, h: number, i: number) => number,
): Check[] {
  const totalQo = sequences.reduce((sum, sequence) => sum + sequence.qoLen, 0)
  const { numQoHeads, headDimVo } = heads
  const out = new Float64Array(totalQo * numQoHeads * headDimVo)
  const lse = new Float64Array(totalQo * numQoHeads)
  const sizes: HeadResult['sizes'][] = []
  sequences.forEach((sequence, b) => {
    for (let h = 0; h < numQoHeads; ++h) {
      const expected = head(sequence, h)
      sizes.push(expected.sizes)
      for (let i = 0; i < sequence.qoLen; ++i) {
        out.set(expected.out[i] ?? [], ((sequence.qoBegin + i) * numQoHeads + h) * headDimVo)
        lse[lseAt(sequence, b, h, i)] = expected.lse[i] ?? NaN
      }
    }
  })
  const bounds = attentionBounds(sizes, dtype)
  return [
    { what: 'out', actual: download(outHandle, out.length), expected: out, bound: bounds.out },
    { what: 'lse', actual: download(lseHandle, lse.length), expected: lse, bound: bounds.lse },
  ]
}

/** Numbers around 1 that are no powers of two: the scales of operands in float8_e4m3, or ones without handles. */
function scalesOf(seed: number, count: number, given: boolean, keep: (handle: TensorHandle) => TensorHandle) {
  if (!given) return { scales: new Float64Array(count).fill(1), handle: null }
  const scales = randomNumbers(seed, count, 'float32', 0.2).map((x) => roundTo('float32', Math.abs(x) + 0.5))
  return { scales, handle: keep(upload('float32', [count], scales)) }
}

/** Of float8_e4m3 the keys and values, and the queries unless they meet a cache: those are bfloat16. */
function attentionCase(
  name: string, seed: number, layout: 'dense' | 'packed' | 'paged', heads: Heads, sequences: readonly Sequence[], extras: Extras = {},
): Case {
  return {
    name,
    run: (dtype) => withHandles((keep) => {
      const { numQoHeads, numKvHeads, headDimQk, headDimVo } = heads
      const [last] = sequences.slice(-1) as [Sequence]
      const [totalQo, totalKv] = [last.qoBegin + last.qoLen, last.kvBegin + last.kvLen]
      const narrow = dtype === 'float8_e4m3'
      const queryDType = narrow && layout === 'paged' ? 'bfloat16' : dtype
      const q = randomNumbers(seed, totalQo * numQoHeads * headDimQk, queryDType)
      const k = randomNumbers(seed + 1, totalKv * numKvHeads * headDimQk, dtype)
      const v = randomNumbers(seed + 2, totalKv * numKvHeads * headDimVo, dtype)
      const slopes = extras.alibi ? randomNumbers(seed + 3, numQoHeads, 'float32', 0.1).map(Math.abs) : undefined
      const sinks = extras.sinks ? randomNumbers(seed + 4, numQoHeads, 'float32') : undefined
      const qScales = scalesOf(seed + 5, numKvHeads, queryDType === 'float8_e4m3', keep)
      const kScales = scalesOf(seed + 6, numKvHeads, narrow, keep)
      const vScales = scalesOf(seed + 7, numKvHeads, narrow, keep)
      const options = attentionOptions({
        queryScales: qScales.handle,
        keyScales: kScales.handle,
        valueScales: vScales.handle,
        causal: extras.causal ?? false,
        windowLeft: extras.windowLeft ?? -1,
        logitSoftcap: extras.logitSoftcap ?? 0,
        alibiSlopes: slopes ? keep(upload('float32', [numQoHeads], slopes)) : null,
        sinks: sinks ? keep(upload('float32', [numQoHeads], sinks)) : null,
      })
      const qHandle = (shape: readonly number[]) => keep(upload(queryDType, [...shape, numQoHeads, headDimQk], q))
      const result = layout === 'dense' ? dense() : layout === 'packed' ? packed() : paged()
      const [outHandle, lseHandle] = outAndLse(result).map(keep) as [TensorHandle, TensorHandle]
      const head = (sequence: Sequence, h: number) => {
        const kvHead = Math.floor(h / (numQoHeads / numKvHeads))
        return referenceHead({
          q: rows(q, sequence.qoBegin, sequence.qoLen, numQoHeads, headDimQk, h),
          k: rows(k, sequence.kvBegin, sequence.kvLen, numKvHeads, headDimQk, kvHead),
          v: rows(v, sequence.kvBegin, sequence.kvLen, numKvHeads, headDimVo, kvHead).map((row) => row.map((x) => x * (vScales.scales[kvHead] ?? NaN))),
          scale: (qScales.scales[kvHead] ?? NaN) * (kScales.scales[kvHead] ?? NaN) / Math.sqrt(headDimQk),
          causal: extras.causal ?? false,
          ...(extras.windowLeft !== undefined && { windowLeft: extras.windowLeft }),
          softcap: extras.logitSoftcap ?? 0,
          slope: slopes?.[h] ?? 0,
          ...(sinks && { sink: sinks[h] ?? NaN }),
        })
      }
      const lseAt = layout === 'packed'
        ? (sequence: Sequence, _: number, h: number, i: number) => h * totalQo + sequence.qoBegin + i
        : (sequence: Sequence, b: number, h: number, i: number) => (b * numQoHeads + h) * sequence.qoLen + i
      // Out of narrow queries is bfloat16; their products are exact in float32.
      return compare(outHandle, lseHandle, heads, sequences, narrow ? 'bfloat16' : dtype, head, lseAt)

      function dense(): NativeAttentionResult {
        const batch = sequences.length
        const kHandle = keep(upload(dtype, [batch, last.kvLen, numKvHeads, headDimQk], k))
        const vHandle = keep(upload(dtype, [batch, last.kvLen, numKvHeads, headDimVo], v))
        return invoke(() => native.flashAttention(qHandle([batch, last.qoLen]), kHandle, vHandle, null, null, ...options))
      }
      function packed(): NativeAttentionResult {
        const kHandle = keep(upload(dtype, [totalKv, numKvHeads, headDimQk], k))
        const vHandle = keep(upload(dtype, [totalKv, numKvHeads, headDimVo], v))
        const qoIndptr = Int32Array.from([0, ...sequences.map((sequence) => sequence.qoBegin + sequence.qoLen)])
        const kvIndptr = Int32Array.from([0, ...sequences.map((sequence) => sequence.kvBegin + sequence.kvLen)])
        return invoke(() => native.flashAttentionVarlen(qHandle([totalQo]), kHandle, vHandle, qoIndptr, kvIndptr, ...options))
      }
      function paged(): NativeAttentionResult {
        const pages = pagesOf(sequences)
        const keys = keep(upload(dtype, [pages.count, pageSize, numKvHeads, headDimQk], pages.place(k, numKvHeads * headDimQk)))
        const values = keep(upload(dtype, [pages.count, pageSize, numKvHeads, headDimVo], pages.place(v, numKvHeads * headDimVo)))
        const [table, lens] = [keep(pages.table()), keep(pages.lens())]
        const query = qHandle([sequences.length, last.qoLen])
        return invoke(() => native.pagedAttention(query, keys, values, table, lens, pages.maxKvLen, null, ...options))
      }
    }),
  }
}

export const pageSize = 16

export interface Pages {
  readonly count: number
  readonly maxKvLen: number
  /** Rows of width `width` put into their slots; unused slots hold NaN, which no kernel may read. */
  place(data: Float64Array, width: number): Float64Array
  table(): TensorHandle
  lens(): TensorHandle
  /** Of all rows, in their order. */
  slots(): Int32Array
}

/** Pages dealt out from the last one downwards, so that no page lies where a dense tensor would have it. */
export function pagesOf(sequences: readonly { readonly kvBegin: number; readonly kvLen: number }[]): Pages {
  const perSequence = sequences.map((sequence) => Math.ceil(sequence.kvLen / pageSize))
  const count = perSequence.reduce((sum, pages) => sum + pages, 0)
  let next = count
  const tables = perSequence.map((pages) => Array.from({ length: pages }, () => --next))
  const maxPages = Math.max(...perSequence)
  return {
    count,
    maxKvLen: Math.max(...sequences.map((sequence) => sequence.kvLen)),
    place: (data, width) => {
      const slots = new Float64Array(count * pageSize * width).fill(NaN)
      sequences.forEach(({ kvBegin, kvLen }, b) => {
        for (let j = 0; j < kvLen; ++j) {
          const slot = (tables[b]?.[Math.floor(j / pageSize)] ?? NaN) * pageSize + (j % pageSize)
          slots.set(data.subarray((kvBegin + j) * width, (kvBegin + j + 1) * width), slot * width)
        }
      })
      return slots
    },
    table: () => upload('int32', [sequences.length, maxPages], tables.flatMap((pages) => [...pages, ...Array<number>(maxPages - pages.length).fill(-1)])),
    slots: () => Int32Array.from(sequences.flatMap(({ kvLen }, b) =>
      Array.from({ length: kvLen }, (_, j) => (tables[b]?.[Math.floor(j / pageSize)] ?? NaN) * pageSize + (j % pageSize)))),
    lens: () => upload('int32', [sequences.length], sequences.map((sequence) => sequence.kvLen)),
  }
}

/** Sequences one after the other, from (qoLen, kvLen) pairs. */
function inOrder(...lengths: readonly (readonly [number, number])[]): Sequence[] {
  let [qoBegin, kvBegin] = [0, 0]
  return lengths.map(([qoLen, kvLen]) => {
    const sequence = { qoBegin, qoLen, kvBegin, kvLen }
    qoBegin += qoLen
    kvBegin += kvLen
    return sequence
  })
}

const grouped = { numQoHeads: 4, numKvHeads: 2, headDimQk: 64, headDimVo: 64 }
const odd = { numQoHeads: 6, numKvHeads: 2, headDimQk: 40, headDimVo: 24 }
const single = { numQoHeads: 8, numKvHeads: 1, headDimQk: 128, headDimVo: 128 }

export const flashAttentionCases: readonly Case[] = [
  attentionCase('causal GQA, 37 queries over 61 keys', 11, 'dense', grouped, inOrder([37, 61], [37, 61]), { causal: true }),
  attentionCase('causal GQA, 90 queries over 300 keys', 18, 'dense', grouped, inOrder([90, 300]), { causal: true }),
  attentionCase('rows that see no key', 12, 'dense', grouped, inOrder([9, 5]), { causal: true }),
  attentionCase('window, softcap, ALiBi and sinks at odd dims', 13, 'dense', odd, inOrder([19, 83]), {
    causal: true, windowLeft: 21, logitSoftcap: 5, alibi: true, sinks: true,
  }),
]
export const varlenCases: readonly Case[] = [
  attentionCase('packed sequences of 1, 17 and 5 queries', 14, 'packed', grouped, inOrder([1, 9], [17, 17], [5, 70]), { causal: true }),
]
export const pagedAttentionCases: readonly Case[] = [
  attentionCase('decode over 300 and 17 keys in pages', 15, 'paged', single, inOrder([1, 300], [1, 17]), { causal: true }),
  attentionCase('4 queries over 130 and 33 keys in pages, with a window', 16, 'paged', grouped, inOrder([4, 130], [4, 33]), { causal: true, windowLeft: 40 }),
  attentionCase('decode over 1,500 keys in pages, with sinks', 17, 'paged', grouped, inOrder([1, 1500]), { causal: true, sinks: true }),
]
