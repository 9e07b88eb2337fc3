import { PagedKvCache } from '../../cache/paged-kv-cache'
import { flashAttention } from '../../ops/flash-attention'
import { pagedAttention } from '../../ops/paged-attention'
import type { FloatTensor } from '../../tensor/tensor'
import { bytesPerElement, type FloatDType } from '../../tensor/dtype'
import type { Check } from '../verify/case'
import { roundTo } from '../verify/rounding'
import { type BenchCase, type CaseTensors, appendEach, distinctOf, openCase, readPart, sampleOf } from './case'
import type { AttentionShape } from './peers/peer'
import { cacheDTypeOf, type BenchSettings, type CaseSettings } from './request'
import { attentionCheck } from './sampled-attention'

/** Pairs of query and key that see each other in one sequence and head. */
export function visiblePairs(len: number, causal: boolean): number {
  return causal ? (len * (len + 1)) / 2 : len * len
}

/** The same where the newest `qoLen` tokens of so many are the queries, aligned at the end. */
export function newestPairs(qoLen: number, kvLen: number): number {
  return qoLen * kvLen - (qoLen * (qoLen - 1)) / 2
}

function attentionCounts(
  settings: BenchSettings, qoLen: number, kvLen: number, pairs: number,
  { q = settings.dtype, kv = settings.dtype }: { readonly q?: FloatDType; readonly kv?: FloatDType },
) {
  const { batch, numQoHeads, numKvHeads, headDimQk, headDimVo, dtype } = settings
  const dims = headDimQk + headDimVo
  const rows = bytesPerElement(q) * headDimQk + bytesPerElement(dtype) * headDimVo
  return {
    flops: batch * numQoHeads * pairs * 2 * dims,
    bytes: batch * (rows * qoLen * numQoHeads + bytesPerElement(kv) * dims * kvLen * numKvHeads),
  }
}

function shapeOf({ batch, numQoHeads, numKvHeads, headDimQk, headDimVo, dtype }: BenchSettings, qoLen: number, kvLen: number, causal: boolean): AttentionShape {
  return { batch, qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo, causal, dtype }
}

/** Keys and values of as many sequences as `distinct`. */
function inputs(tensors: CaseTensors, settings: CaseSettings, qoLen: number, kvLen: number, distinct = settings.batch): Made {
  const { batch, numQoHeads, numKvHeads, headDimQk, headDimVo, inputDType } = settings
  return {
    q: tensors.normal([batch, qoLen, numQoHeads, headDimQk], inputDType),
    k: tensors.normal([distinct, kvLen, numKvHeads, headDimQk], inputDType),
    v: tensors.normal([distinct, kvLen, numKvHeads, headDimVo], inputDType),
    out: tensors.out([batch, qoLen, numQoHeads, headDimVo]),
  }
}

export function prefillCase(settings: CaseSettings, length: number): BenchCase {
  const { causal, dtype, inputDType = dtype } = settings
  const options = { causal, ...(inputDType === 'float8_e4m3' && { dtype }) }
  return {
    op: 'prefill', length, ...attentionCounts(settings, length, length, visiblePairs(length, causal), { q: inputDType, kv: inputDType }),
    ...(inputDType === dtype && { attention: shapeOf(settings, length, length, causal) }),
    open: () => openCase(settings, (tensors) => {
      const made = inputs(tensors, settings, length, length)
      const run = () => { flashAttention(made.q, made.k, made.v, { ...options, out: made.out }) }
      return { run, check: () => { run(); return checksOf(settings, made, length, length, causal) } }
    }),
  }
}

export function decodeCase(settings: BenchSettings, length: number): BenchCase {
  return {
    op: 'decode', length, ...attentionCounts(settings, 1, length, length, {}), attention: shapeOf(settings, 1, length, false),
    open: () => openCase(settings, (tensors) => {
      const made = inputs(tensors, settings, 1, length)
      const run = () => { flashAttention(made.q, made.k, made.v, { out: made.out }) }
      return { run, check: () => { run(); return checksOf(settings, made, 1, length, false) } }
    }),
  }
}

export function pagedCase(settings: CaseSettings, length: number): BenchCase {
  const { batch, qoLen = 1 } = settings
  return {
    op: 'paged', length, ...attentionCounts(settings, qoLen, length, newestPairs(qoLen, length), { kv: cacheDTypeOf(settings) }),
    open: () => openCase(settings, (tensors) => {
      const made = inputs(tensors, settings, qoLen, length, distinctOf(batch))
      const { cache, sequences } = cacheOf(tensors, settings, length)
      appendEach([made.k, made.v], sequences.map(() => length), (b, k, v) => { cache.append([sequences[b]!], k, v) })
      const pages = tensors.keep(cache.batch(sequences))
      const run = () => { pagedAttention(made.q, cache, pages, { out: made.out }) }
      return { run, check: () => { run(); return checksOf(settings, made, qoLen, length, true, cacheDTypeOf(settings)) } }
    }),
  }
}

/** New tokens into an empty cache, the cache's own bookkeeping included; the tokens are taken back after each call. */
export function appendCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, numKvHeads, headDimQk, headDimVo, dtype, pageSize } = settings
  const cacheDType = cacheDTypeOf(settings)
  return {
    op: 'append', length, flops: 0,
    bytes: (bytesPerElement(dtype) + bytesPerElement(cacheDType)) * batch * length * numKvHeads * (headDimQk + headDimVo),
    open: () => openCase(settings, (tensors) => {
      const { k, v } = inputs(tensors, settings, 1, length)
      const { cache, sequences } = cacheOf(tensors, settings, length)
      const append = () => { cache.append(sequences, k, v) }
      const empty = () => { for (const sequence of sequences) sequence.truncate(0) }
      const check = () => {
        append()
        const checks = sampleOf(batch).flatMap((b) => sampleOf(length).flatMap((token) => {
          const page = sequences[b]?.pages[Math.floor(token / pageSize)] ?? NaN
          const slot = [[page, page + 1], [token % pageSize, (token % pageSize) + 1]] as const
          return ([['keys', cache.keys, k], ['values', cache.values, v]] as const).map(([name, pages, source]): Check => ({
            what: `${name} of token ${token} of sequence ${b}`,
            actual: readPart(pages, slot), expected: stored(readPart(source, [[b, b + 1], [token, token + 1]]), cacheDType), bound: 0,
          }))
        }))
        empty()
        return checks
      }
      return { run: () => { append(); empty() }, check }
    }),
  }
}

/** Rows as a cache keeps them; standard normal numbers are far from where any dtype ends. */
function stored(rows: Float32Array, dtype: FloatDType): Float32Array {
  return rows.map((value) => roundTo(dtype, value))
}

function cacheOf(tensors: CaseTensors, settings: BenchSettings, length: number) {
  const { batch, pageSize, numKvHeads, headDimQk, headDimVo, device } = settings
  const numPages = batch * Math.ceil(length / pageSize)
  const cache = tensors.keep(new PagedKvCache({ numPages, pageSize, numKvHeads, headDimQk, headDimVo, dtype: cacheDTypeOf(settings), device }))
  return { cache, sequences: Array.from({ length: batch }, () => cache.open()) }
}

interface Made {
  readonly q: FloatTensor
  readonly k: FloatTensor
  readonly v: FloatTensor
  readonly out: FloatTensor
}

/** A few queries of a few heads and sequences; the last ones see every key. */
function checksOf(
  settings: BenchSettings, { q, k, v, out }: Made, qoLen: number, kvLen: number, causal: boolean, kvDType: FloatDType = settings.dtype,
): Check[] {
  const { batch, numQoHeads, numKvHeads, headDimQk, headDimVo, dtype } = settings
  const samples = sampleOf(qoLen)
  const heads = sampleOf(numQoHeads)
  return Array.from({ length: Math.max(samples.length, heads.length) }, (_, n) => {
    const [i, h, b] = [samples.at(n % samples.length) ?? 0, heads.at(n % heads.length) ?? 0, n % 2 === 0 ? batch - 1 : 0]
    const kvHead = Math.floor(h / (numQoHeads / numKvHeads))
    const seen = causal ? kvLen - qoLen + i + 1 : kvLen
    const row = [[b, b + 1], [i, i + 1], [h, h + 1]] as const
    const from = b % k.shape[0]!
    const rows = [[from, from + 1], [0, seen], [kvHead, kvHead + 1]] as const
    return attentionCheck({
      what: `out of query ${i}, head ${h}, sequence ${b}`,
      q: readPart(q, row), k: stored(readPart(k, rows), kvDType), v: stored(readPart(v, rows), kvDType), headDimVo,
      scale: 1 / Math.sqrt(headDimQk), actual: readPart(out, row),
    }, dtype)
  })
}
