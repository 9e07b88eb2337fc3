import { MlaKvCache } from '../../cache/mla-kv-cache'
import { mlaDecode } from '../../ops/mla-decode'
import { mlaPrefill } from '../../ops/mla-prefill'
import { latentRowWidth } from '../../cache/latent-row'
import { bytesPerElement } from '../../tensor/dtype'
import { storedLatents } from '../verify/latent-cases'
import { roundTo } from '../verify/rounding'
import { newestPairs, visiblePairs } from './attention-cases'
import { type BenchCase, appendEach, distinctOf, openCase, readPart, sampleOf } from './case'
import { cacheDTypeOf, type BenchSettings, type CaseSettings } from './request'
import { attentionCheck } from './sampled-attention'

/** [row][nope | rope] from the two parts. */
function joined(nope: Float32Array, rope: Float32Array, nopeDim: number, ropeDim: number): Float32Array {
  const width = nopeDim + ropeDim
  return Float32Array.from({ length: (nope.length / nopeDim) * width }, (_, at) => {
    const [row, d] = [Math.floor(at / width), at % width]
    return (d < nopeDim ? nope[row * nopeDim + d] : rope[row * ropeDim + d - nopeDim]) ?? NaN
  })
}

/** Absorbed decoding of the newest tokens of each sequence, by default of one. */
export function mlaDecodeCase(settings: CaseSettings, length: number): BenchCase {
  const { numQoHeads, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, mlaPageSize, dtype, device, qoLen = 1 } = settings
  const lens = settings.kvLens ?? Array.from({ length: settings.batch }, () => length)
  const batch = lens.length
  const keys = lens.reduce((sum, len) => sum + len, 0)
  const pairs = lens.reduce((sum, len) => sum + newestPairs(qoLen, len), 0)
  const cacheDType = cacheDTypeOf(settings)
  const width = kvLoraRank + qkRopeHeadDim
  const rowBytes = bytesPerElement(cacheDType) * latentRowWidth('--cache-dtype', kvLoraRank, qkRopeHeadDim, cacheDType)
  const softmaxScale = 1 / Math.sqrt(qkNopeHeadDim + qkRopeHeadDim)
  return {
    op: 'mla-decode',
    length,
    flops: numQoHeads * pairs * 2 * (width + kvLoraRank),
    bytes: rowBytes * keys + batch * qoLen * bytesPerElement(dtype) * numQoHeads * (width + kvLoraRank),
    ...(qoLen === 1 && settings.kvLens === undefined && { attention: { batch, kvLen: length, numQoHeads, kvLoraRank, qkRopeHeadDim, softmaxScale, dtype } }),
    open: () => openCase(settings, (tensors) => {
      const longest = Math.max(...lens)
      const distinct = distinctOf(batch)
      const qNope = tensors.normal([batch, qoLen, numQoHeads, kvLoraRank])
      const qPe = tensors.normal([batch, qoLen, numQoHeads, qkRopeHeadDim])
      const ckv = tensors.normal([distinct, longest, kvLoraRank])
      const kPe = tensors.normal([distinct, longest, qkRopeHeadDim])
      const out = tensors.out([batch, qoLen, numQoHeads, kvLoraRank])
      const numPages = lens.reduce((sum, len) => sum + Math.ceil(len / mlaPageSize), 0)
      const cache = tensors.keep(new MlaKvCache({ numPages, pageSize: mlaPageSize, kvLoraRank, qkRopeHeadDim, dtype: cacheDType, device }))
      const sequences = Array.from({ length: batch }, () => cache.open())
      appendEach([ckv, kPe], lens, (b, latents, rope) => { cache.append([sequences[b]!], latents, rope) })
      const pages = tensors.keep(cache.batch(sequences))
      const run = () => { mlaDecode(qNope, qPe, cache, pages, { softmaxScale, out }) }
      const check = () => {
        run()
        return sampleOf(numQoHeads).map((h, n) => {
          const b = Math.max(0, batch - 1 - n)
          const [i, from] = [qoLen - 1 - (n % qoLen), b % distinct]
          const [row, rows] = [[[b, b + 1], [i, i + 1], [h, h + 1]], [[from, from + 1], [0, lens[b]! - qoLen + i + 1]]] as const
          const whole = joined(readPart(ckv, rows), readPart(kPe, rows), kvLoraRank, qkRopeHeadDim)
          const k = cacheDType === 'float8_e4m3' ? Float32Array.from(storedLatents(whole)) : whole.map((value) => roundTo(cacheDType, value))
          return attentionCheck({
            what: `out of query ${i}, head ${h}, sequence ${b}`,
            q: joined(readPart(qNope, row), readPart(qPe, row), kvLoraRank, qkRopeHeadDim),
            k, v: k.filter((_, n) => n % width < kvLoraRank), headDimVo: kvLoraRank, scale: softmaxScale, actual: readPart(out, row),
          }, dtype, cacheDType === 'float8_e4m3' ? dtype : undefined)
        })
      }
      return { run, check }
    }),
  }
}

/** The expanded form over per-head keys and values. */
export function mlaPrefillCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, numQoHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, causal, dtype } = settings
  const [width, heads] = [qkNopeHeadDim + qkRopeHeadDim, numQoHeads]
  const softmaxScale = 1 / Math.sqrt(width)
  return {
    op: 'mla-prefill',
    length,
    flops: batch * heads * visiblePairs(length, causal) * 2 * (width + vHeadDim),
    bytes: bytesPerElement(dtype) * batch * length * (heads * (width + qkNopeHeadDim + 2 * vHeadDim) + qkRopeHeadDim),
    open: () => openCase(settings, (tensors) => {
      const qNope = tensors.normal([batch, length, heads, qkNopeHeadDim])
      const qPe = tensors.normal([batch, length, heads, qkRopeHeadDim])
      const kNope = tensors.normal([batch, length, heads, qkNopeHeadDim])
      const kPe = tensors.normal([batch, length, qkRopeHeadDim])
      const v = tensors.normal([batch, length, heads, vHeadDim])
      const out = tensors.out([batch, length, heads, vHeadDim])
      const run = () => { mlaPrefill({ qNope, qPe, kNope, kPe, v }, { softmaxScale, causal, out }) }
      const check = () => {
        run()
        const hs = sampleOf(heads)
        return sampleOf(length).map((i, n) => {
          const [b, h] = [n % 2 === 0 ? batch - 1 : 0, hs.at(n % hs.length) ?? 0]
          const seen = causal ? i + 1 : length
          const row = [[b, b + 1], [i, i + 1], [h, h + 1]] as const
          const rows = [[b, b + 1], [0, seen], [h, h + 1]] as const
          return attentionCheck({
            what: `out of query ${i}, head ${h}, sequence ${b}`,
            q: joined(readPart(qNope, row), readPart(qPe, row), qkNopeHeadDim, qkRopeHeadDim),
            k: joined(readPart(kNope, rows), readPart(kPe, [[b, b + 1], [0, seen]]), qkNopeHeadDim, qkRopeHeadDim),
            v: readPart(v, rows), headDimVo: vHeadDim, scale: softmaxScale, actual: readPart(out, row),
          }, dtype)
        })
      }
      return { run, check }
    }),
  }
}
