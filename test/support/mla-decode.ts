// Absorbed decoding beside the float64 reference, for the tests of mlaDecode.
import { mlaDecode, MlaKvCache, type DeviceId, type FloatTensor, type PageBatch } from '../../lib/index'
import type { AttentionArrays } from '../reference/attention'
import { joinRows, mlaDecode as referenceMlaDecode } from '../reference/mla-decode'
import { roundAll } from '../reference/rounding'
import type { ComputeDType } from './devices'
import { storeInTurns } from './paged-sequences'
import { plainAttention } from './plain-attention'
import { Random } from './random'
import { poison, tensorOf } from './tensors'
import { expectAsGoodAsPlain, expectLseAsGoodAsPlain } from './tolerance'

export interface MlaCase {
  readonly kvLens: readonly number[]
  readonly qoLen: number
  readonly pageSize: number
  readonly numHeads: number
  readonly kvLoraRank: number
  readonly qkRopeHeadDim: number
}
export const baseMlaCase: MlaCase = { kvLens: [33, 1, 130], qoLen: 1, pageSize: 64, numHeads: 5, kvLoraRank: 32, qkRopeHeadDim: 16 }

export interface StoredMla {
  readonly cache: MlaKvCache
  readonly batch: PageBatch
  readonly qNope: FloatTensor
  readonly qPe: FloatTensor
  readonly sequences: readonly { readonly qNope: Float64Array; readonly qPe: Float64Array; readonly latents: Float64Array }[]
}

export function storeMla(c: MlaCase, dtype: ComputeDType, device: DeviceId, seed: number): StoredMla {
  const { kvLens, qoLen, pageSize, numHeads, kvLoraRank, qkRopeHeadDim } = c
  const random = new Random(seed)
  const pages = kvLens.reduce((sum, len) => sum + Math.ceil(len / pageSize), 0)
  const cache = new MlaKvCache({ numPages: 3 * pages + 1, pageSize, kvLoraRank, qkRopeHeadDim, dtype, device })
  poison(cache.latents)
  const parts = kvLens.map((len) => ({
    ckv: roundAll(dtype, random.normals(len * kvLoraRank)), kPe: roundAll(dtype, random.normals(len * qkRopeHeadDim)),
    qNope: roundAll(dtype, random.normals(qoLen * numHeads * kvLoraRank)), qPe: roundAll(dtype, random.normals(qoLen * numHeads * qkRopeHeadDim)),
  }))
  const sequences = storeInTurns(
    cache, kvLens, (b) => [{ values: parts[b]!.ckv, row: [kvLoraRank] }, { values: parts[b]!.kPe, row: [qkRopeHeadDim] }], pageSize, dtype, device, random,
  )
  const all = (key: 'qNope' | 'qPe'): number[] => parts.flatMap((part) => Array.from(part[key]))
  return {
    cache,
    batch: cache.batch(sequences),
    qNope: tensorOf(all('qNope'), [kvLens.length, qoLen, numHeads, kvLoraRank], dtype, device),
    qPe: tensorOf(all('qPe'), [kvLens.length, qoLen, numHeads, qkRopeHeadDim], dtype, device),
    sequences: parts.map(({ qNope, qPe, ckv, kPe }) => ({ qNope, qPe, latents: joinRows(ckv, kvLoraRank, kPe, qkRopeHeadDim) })),
  }
}

export function checkMla(overrides: Partial<MlaCase>, dtype: ComputeDType, device: DeviceId, causal = true): void {
  const c = { ...baseMlaCase, ...overrides }
  const stored = storeMla(c, dtype, device, 100)
  // Not of the absorbed width: as a model with 24 nope features would have it.
  const softmaxScale = 1 / Math.sqrt(24 + c.qkRopeHeadDim)
  const { out, lse } = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale, causal, returnLse: true })
  expect([out.shape, out.dtype]).toEqual([[c.kvLens.length, c.qoLen, c.numHeads, c.kvLoraRank], dtype])
  expect(lse.shape).toEqual([c.kvLens.length, c.numHeads, c.qoLen])
  for (const [b, { qNope, qPe, latents }] of stored.sequences.entries()) {
    const dims = { ...c, batch: 1, kvLen: c.kvLens[b]! }
    const expected = referenceMlaDecode(qNope, qPe, latents, dims, { softmaxScale, causal })
    const plain = plainAttention(asMqa(qNope, qPe, latents, dims), { softmaxScale, causal }, dtype)
    expectAsGoodAsPlain(out.slice(0, b, b + 1).readSync(), expected.out, plain.out, { dtype }, `out of sequence ${b}`)
    expectLseAsGoodAsPlain(lse.slice(0, b, b + 1).readSync(), expected.lse, plain.lse)
  }
  stored.cache.dispose()
}

/** The problem that the plain implementation sees: one kv head whose value is the key's latent part. */
function asMqa(qNope: Float64Array, qPe: Float64Array, latents: Float64Array, c: MlaCase & { kvLen: number }): AttentionArrays {
  const width = c.kvLoraRank + c.qkRopeHeadDim
  return {
    batch: 1, qoLen: c.qoLen, kvLen: c.kvLen, numQoHeads: c.numHeads, numKvHeads: 1, headDimQk: width, headDimVo: c.kvLoraRank,
    q: joinRows(qNope, c.kvLoraRank, qPe, c.qkRopeHeadDim), k: latents, v: latents.filter((_, n) => n % width < c.kvLoraRank),
  }
}
