import { invoke, native, type TensorHandle } from '../../native'
import { attentionBounds, type HeadResult, referenceHead } from './attention-reference'
import { pagesOf } from './attention-cases'
import type { Case } from './case'
import { latentPages, storedLatents } from './latent-cases'
import { attentionOptions, download, outAndLse, randomNumbers, upload, withHandles } from './data'

interface LatentCase {
  readonly seed: number
  readonly qoLen: number
  readonly kvLens: readonly number[]
  readonly heads: number
  readonly rank: number
  readonly rope: number
}

/** Decoding in latent space: the row [latent | rope key] is the key of every head, its latent part the value. */
function decodeCase(name: string, { seed, qoLen, kvLens, heads, rank, rope }: LatentCase): Case {
  return {
    name,
    ...(rank === 512 && rope === 64 ? {} : { without: ['float8_e4m3'] as const }),
    run: (dtype) => withHandles((keep) => {
      const narrow = dtype === 'float8_e4m3'
      const queryDType = narrow ? 'bfloat16' : dtype
      const batch = kvLens.length
      const width = rank + rope
      let kvBegin = 0
      const sequences = kvLens.map((kvLen) => ({ kvLen, kvBegin: (kvBegin += kvLen) - kvLen }))
      // Smaller queries keep the logits of these wide rows at the size of real ones.
      const qNope = randomNumbers(seed, batch * qoLen * heads * rank, queryDType, 0.3)
      const qPe = randomNumbers(seed + 1, batch * qoLen * heads * rope, queryDType, 0.3)
      const rows = randomNumbers(seed + 2, kvBegin * width, queryDType)
      const latents = narrow ? storedLatents(rows) : rows
      const scale = 1 / Math.sqrt(width)
      const pages = pagesOf(sequences)
      const cache = narrow
        ? latentPages(rows, queryDType, pages.slots(), pages.count, keep)
        : keep(upload(dtype, [pages.count, 16, width], pages.place(latents, width)))
      const result = invoke(() => native.mlaDecode(
        keep(upload(queryDType, [batch, qoLen, heads, rank], qNope)), keep(upload(queryDType, [batch, qoLen, heads, rope], qPe)), cache,
        keep(pages.table()), keep(pages.lens()), pages.maxKvLen,
        null, null, 0, 0, ...attentionOptions({ causal: true, softmaxScale: scale }),
      ))
      const [outHandle, lseHandle] = outAndLse(result).map(keep) as [TensorHandle, TensorHandle]
      const out: number[] = []
      const lse = new Float64Array(batch * heads * qoLen)
      const results: HeadResult[][] = sequences.map((sequence, b) => Array.from({ length: heads }, (_, h) => {
        const keys = Array.from({ length: sequence.kvLen }, (_, j) => latents.subarray((sequence.kvBegin + j) * width, (sequence.kvBegin + j + 1) * width))
        const q = Array.from({ length: qoLen }, (_, i) => {
          const row = (b * qoLen + i) * heads + h
          return [...qNope.subarray(row * rank, (row + 1) * rank), ...qPe.subarray(row * rope, (row + 1) * rope)]
        })
        return referenceHead({ q, k: keys, v: keys.map((key) => key.subarray(0, rank)), scale, causal: true })
      }))
      results.forEach((perHead, b) => {
        for (let i = 0; i < qoLen; ++i) for (const head of perHead) out.push(...(head.out[i] ?? []))
        perHead.forEach((head, h) => { lse.set(head.lse, (b * heads + h) * qoLen) })
      })
      // A kernel may round what it makes of a narrow latent to the queries' dtype.
      const bounds = attentionBounds(results.flat().map((head) => head.sizes), queryDType, narrow ? queryDType : undefined)
      return [
        { what: 'out', actual: download(outHandle, out.length), expected: out, bound: bounds.out },
        { what: 'lse', actual: download(lseHandle, lse.length), expected: lse, bound: bounds.lse },
      ]
    }),
  }
}

/** Per-head keys and values, and one rope key that all heads share. */
function prefillCase(name: string, seed: number): Case {
  const [qoLen, kvLen, heads, nope, rope, vo] = [21, 45, 3, 32, 16, 24]
  return {
    name,
    without: ['float8_e4m3'],
    run: (dtype) => withHandles((keep) => {
      const tensor = (offset: number, len: number, perRow: number) => randomNumbers(seed + offset, len * perRow, dtype)
      const [qNope, qPe] = [tensor(0, qoLen, heads * nope), tensor(1, qoLen, heads * rope)]
      const [kNope, kPe, v] = [tensor(2, kvLen, heads * nope), tensor(3, kvLen, rope), tensor(4, kvLen, heads * vo)]
      const scale = 1 / Math.sqrt(nope + rope)
      const result = invoke(() => native.mlaPrefill(
        keep(upload(dtype, [1, qoLen, heads, nope], qNope)), keep(upload(dtype, [1, qoLen, heads, rope], qPe)),
        keep(upload(dtype, [1, kvLen, heads, nope], kNope)), keep(upload(dtype, [1, kvLen, rope], kPe)), keep(upload(dtype, [1, kvLen, heads, vo], v)),
        null, null, ...attentionOptions({ causal: true, softmaxScale: scale }),
      ))
      const [outHandle, lseHandle] = outAndLse(result).map(keep) as [TensorHandle, TensorHandle]
      const part = (data: Float64Array, row: number, h: number, dim: number) => data.subarray((row * heads + h) * dim, (row * heads + h + 1) * dim)
      const results = Array.from({ length: heads }, (_, h) => referenceHead({
        q: Array.from({ length: qoLen }, (_, i) => [...part(qNope, i, h, nope), ...part(qPe, i, h, rope)]),
        k: Array.from({ length: kvLen }, (_, j) => [...part(kNope, j, h, nope), ...kPe.subarray(j * rope, (j + 1) * rope)]),
        v: Array.from({ length: kvLen }, (_, j) => part(v, j, h, vo)),
        scale,
        causal: true,
      }))
      const out = Array.from({ length: qoLen }, (_, i) => results.flatMap((head) => head.out[i] ?? [])).flat()
      const bounds = attentionBounds(results.map((head) => head.sizes), dtype)
      const lse = results.flatMap((head) => head.lse)
      return [
        { what: 'out', actual: download(outHandle, out.length), expected: out, bound: bounds.out },
        { what: 'lse', actual: download(lseHandle, lse.length), expected: lse, bound: bounds.lse },
      ]
    }),
  }
}

export const mlaDecodeCases: readonly Case[] = [
  decodeCase('130 and 9 keys, rank 64 + 16', { seed: 21, qoLen: 1, kvLens: [130, 9], heads: 5, rank: 64, rope: 16 }),
  decodeCase("3 queries over 40 keys at DeepSeek's 512 + 64", { seed: 22, qoLen: 3, kvLens: [40], heads: 16, rank: 512, rope: 64 }),
]
export const mlaPrefillCases: readonly Case[] = [prefillCase('MLA with per-head keys and a shared rope key', 31)]
