// Attention over a paged cache beside the float64 reference, for the tests of pagedAttention.
import { pagedAttention, PagedKvCache, type DeviceId, type PageBatch, type Sequence, type Tensor } from '../../lib/index'
import { attention, type AttentionArrays, type ReferenceOptions } from '../reference/attention'
import { attentionCase, makeArrays } from './attention-cases'
import { expectSameBits } from './compare'
import type { ComputeDType } from './devices'
import { randomScales, saturate, scalesTensor } from './float8'
import { storeInTurns } from './paged-sequences'
import { plainAttention } from './plain-attention'
import { Random } from './random'
import { callOptions } from './run-attention'
import { poison, tensorOf } from './tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain, plainFactor, softcapFactor } from './tolerance'

export interface PagedCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numQoHeads: number
  readonly numKvHeads: number
  readonly headDimQk: number
  readonly headDimVo: number
  /** The cache holds float8_e4m3, with scales or without them; undefined: the dtype of the queries. */
  readonly float8?: 'scaled' | 'unscaled'
  readonly options: ReferenceOptions
}

export const pagedCase: PagedCase = {
  kvLens: [33, 1, 130, 64], qoLen: 1, pageSize: 16, numQoHeads: 4, numKvHeads: 2, headDimQk: 32, headDimVo: 32, options: {},
}

export interface Stored {
  readonly cache: PagedKvCache
  readonly sequences: readonly Sequence[]
  readonly batch: PageBatch
  /** With the numbers that the cache's rows stand for. */
  readonly arrays: readonly AttentionArrays[]
}

/** A cache three times as large as needed and full of NaN, with the sequences of the case in mixed-up pages. */
export function store(c: PagedCase, dtype: ComputeDType, device: DeviceId, seed: number): Stored {
  const { kvLens, qoLen, pageSize, numQoHeads, numKvHeads, headDimQk, headDimVo, float8 } = c
  const random = new Random(seed)
  const [ks, vs] = [randomScales(numKvHeads, random), randomScales(numKvHeads, random)]
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new PagedKvCache({
    numPages: 3 * pages + 1, pageSize, numKvHeads, headDimQk, headDimVo, dtype: float8 ? 'float8_e4m3' : dtype, device,
    ...(float8 === 'scaled' && { keyScales: scalesTensor(ks, [numKvHeads], device), valueScales: scalesTensor(vs, [numKvHeads], device) }),
  })
  if (!float8) for (const rows of [cache.keys, cache.values]) poison(rows)  // no op writes float8_e4m3; storeInTurns leaves NaN in what it used
  const arrays = kvLens.map((kvLen, b) => makeArrays({ ...attentionCase({}), qoLen, kvLen, numQoHeads, numKvHeads, headDimQk, headDimVo }, dtype, seed + b))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: arrays[b]!.k, row: [numKvHeads, headDimQk] }, { values: arrays[b]!.v, row: [numKvHeads, headDimVo] }],
    pageSize, dtype, device, random,
  )
  const kept = (rows: Float64Array, scales: Float64Array, dim: number): Float64Array => !float8 ? rows : rows.map((value, i) => {
    const scale = float8 === 'scaled' ? scales[Math.floor(i / dim) % numKvHeads]! : 1
    return saturate(Math.fround(value / scale)) * scale
  })
  return { cache, sequences, batch: cache.batch(sequences), arrays: arrays.map((a) => ({ ...a, k: kept(a.k, ks, headDimQk), v: kept(a.v, vs, headDimVo) })) }
}

export function queries({ arrays }: Stored, c: PagedCase, dtype: ComputeDType, device: DeviceId): Tensor<ComputeDType> {
  return tensorOf(arrays.flatMap(({ q }) => Array.from(q)), [c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimQk], dtype, device)
}

/**
 * Queries of `dtype` over a cache of it or of float8_e4m3, whose elements are exact in every compute dtype and whose scales are one factor of float32: no
 * more is allowed there.
 */
export function checkPaged(c: PagedCase, dtype: ComputeDType, device: DeviceId): void {
  const stored = store(c, dtype, device, 80)
  const { out, lse } = pagedAttention(queries(stored, c, dtype, device), stored.cache, stored.batch, callOptions(c.options, c.kvLens.length, c.numQoHeads, device))
  expect([out.shape, out.dtype]).toEqual([[c.kvLens.length, c.qoLen, c.numQoHeads, c.headDimVo], dtype])
  const factor = c.options.logitSoftcap ? softcapFactor : plainFactor
  for (const [b, arrays] of stored.arrays.entries()) {
    const options = { causal: true, ...c.options }
    const [expected, plain] = [attention(arrays, options), plainAttention(arrays, options, dtype)]
    expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype, factor }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lse.slice(0, b, b + 1).readSync(), expected.lse, plain.lse, factor)
  }
  stored.batch[Symbol.dispose]()
  stored.cache.dispose()
}

/** Each sequence in a batch of its own. */
export function expectBitsOfEachAlone(c: PagedCase, stored: Stored, dtype: ComputeDType, device: DeviceId): void {
  const q = queries(stored, c, dtype, device)
  const whole = pagedAttention(q, stored.cache, stored.batch).out
  for (const [b, sequence] of stored.sequences.entries()) {
    using batch = stored.cache.batch([sequence])
    expectSameBits(pagedAttention(q.slice(0, b, b + 1), stored.cache, batch).out.readSync(), whole.slice(0, b, b + 1).readSync(), `sequence ${b}`)
  }
}
