import { linear } from '../../ops/linear'
import { linearPerHead } from '../../ops/linear-per-head'
import { bytesPerElement } from '../../tensor/dtype'
import type { FloatTensor } from '../../tensor/tensor'
import { disposeAll, latentParts, stockRows } from '../compare/layer-parts'
import { tripleOf } from '../compare/triple'
import { type LatentShape, presets } from '../presets'
import type { Check } from '../verify/case'
import { sumRounding, unitRoundoff } from '../verify/rounding'
import { type BenchCase, openCase, readPart, sampleOf } from './case'
import type { BenchSettings } from './request'

function shapeOf({ preset, hiddenSize, numQoHeads, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }: BenchSettings): LatentShape {
  const [, , { shape }] = tripleOf(presets[preset].published, 'published')
  return { kind: 'latent', hiddenSize, numHeads: numQoHeads, qLoraRank: shape.qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }
}

/** [out, in] of what every token is multiplied by in a decode step; the two products of each head have as many rows for each head. */
function matricesOf({ hiddenSize, numHeads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim }: LatentShape) {
  const compressed = qLoraRank === null ? [] : [[qLoraRank, hiddenSize]] as const
  return {
    plain: [
      ...compressed, [numHeads * (qkNopeHeadDim + qkRopeHeadDim), qLoraRank ?? hiddenSize], [kvLoraRank + qkRopeHeadDim, hiddenSize],
      [hiddenSize, numHeads * vHeadDim],
    ] as readonly (readonly [number, number])[],
    perHead: [[kvLoraRank, qkNopeHeadDim], [vHeadDim, kvLoraRank]] as readonly (readonly [number, number])[],
  }
}

function countsOf(shape: LatentShape): { readonly weights: number; readonly numbers: number } {
  const { plain, perHead } = matricesOf(shape)
  const sum = (of: readonly (readonly [number, number])[], count: (out: number, width: number) => number) =>
    of.reduce((total, [out, width]) => total + count(out, width), 0)
  return {
    weights: sum(plain, (out, width) => out * width) + shape.numHeads * sum(perHead, (out, width) => out * width),
    numbers: sum(plain, (out, width) => out + width) + shape.numHeads * sum(perHead, (out, width) => out + width),
  }
}

/** A whole MLA layer for one new token of each sequence. Its parts: `mla-linear 1`, `mla-decode` at the same length, and the small ops between. */
export function mlaStepCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, mlaPageSize, dtype, device } = settings
  const shape = shapeOf(settings)
  const { numHeads, hiddenSize, kvLoraRank, qkRopeHeadDim } = shape
  const width = kvLoraRank + qkRopeHeadDim
  return {
    op: 'mla-step', length,
    flops: 2 * batch * (countsOf(shape).weights + numHeads * (length + 1) * (width + kvLoraRank)),
    bytes: bytesPerElement(dtype) * (countsOf(shape).weights + batch * ((length + 1) * width + 2 * hiddenSize)),
    open: () => openCase(settings, (tensors) => {
      const { module, stock, append } = latentParts(shape, { device, dtype, seed: 1 }, batch)
      tensors.keep({ [Symbol.dispose]: () => { disposeAll([...stock, module]) } })
      const x = tensors.normal([batch, 1, hiddenSize])
      const cache = module.createCache({ numPages: batch * Math.ceil((length + 1) / mlaPageSize), pageSize: mlaPageSize, dtype })
      tensors.keep({ [Symbol.dispose]: () => { cache.dispose() } })
      const sequences = Array.from({ length: batch }, () => cache.open())
      for (let have = 0; have < length; have += stockRows) {
        const rows = Math.min(stockRows, length - have)
        const [ckv, kPe] = stock.map((part) => part.slice(1, 0, rows)) as [FloatTensor, FloatTensor]
        append(cache, sequences, ckv, kPe)
        disposeAll([ckv, kPe])
      }
      const step = <R>(form: 'absorbed' | 'expanded', use: (y: FloatTensor) => R): R => {
        const y = module.forward(x, { cache, sequences, form })
        try {
          return use(y)
        } finally {
          y.dispose()
          for (const sequence of sequences) sequence.truncate(length)
        }
      }
      const rowsOf = (y: FloatTensor) => sampleOf(batch).map((b) => readPart(y, [[b, b + 1]]))
      // Other kernels in another order: keys and values of every head are built from the cache.
      const check = () => {
        const expected = step('expanded', rowsOf)
        return step('absorbed', rowsOf).map((actual, n): Check => {
          const wanted = expected[n] ?? new Float32Array()
          const largest = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
          // A dozen results on the way are rounded to the dtype, in each form.
          return { what: `out of sample ${n}`, actual, expected: wanted, bound: largest * (24 * unitRoundoff(dtype) + 4 * sumRounding(hiddenSize)) }
        })
      }
      return { run: () => { step('absorbed', () => undefined) }, check }
    }),
  }
}

/** The products of `length` tokens of each sequence with all weights of an MLA layer in its absorbed form, and nothing else. */
export function mlaLinearCase(settings: BenchSettings, length: number): BenchCase {
  const { batch, dtype } = settings
  const shape = shapeOf(settings)
  const { plain, perHead } = matricesOf(shape)
  const { weights, numbers } = countsOf(shape)
  const rows = batch * length
  return {
    op: 'mla-linear', length, flops: 2 * rows * weights, bytes: bytesPerElement(dtype) * (weights + rows * numbers),
    open: () => openCase(settings, (tensors) => {
      const products = plain.map(([out, width]) => [tensors.normal([rows, width]), tensors.normal([out, width])] as const)
      const headProducts = perHead.map(([out, width]) => [tensors.normal([rows, shape.numHeads, width]), tensors.normal([shape.numHeads, out, width])] as const)
      const run = () => {
        for (const [x, weight] of products) linear(x, weight).dispose()
        for (const [x, weight] of headProducts) linearPerHead(x, weight).dispose()
      }
      const check = () => headProducts.flatMap(([x, weight], n) => {
        const y = linearPerHead(x, weight)
        try {
          return sampleOf(shape.numHeads).flatMap((h) => sampleOf(weight.shape[1] ?? 0).map((column): Check => {
            const a = readPart(x, [[rows - 1, rows], [h, h + 1]])
            const b = readPart(weight, [[h, h + 1], [column, column + 1]])
            const size = a.reduce((sum, value, i) => sum + Math.abs(value * (b[i] ?? NaN)), 0)
            const expected = a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0)
            const bound = sumRounding(a.length) * size + 2 * unitRoundoff(dtype) * Math.abs(expected)
            const actual = readPart(y, [[rows - 1, rows], [h, h + 1], [column, column + 1]])
            return { what: `product ${n} of head ${h}, feature ${column}`, actual, expected: [expected], bound }
          }))
        } finally {
          y.dispose()
        }
      })
      return { run, check }
    }),
  }
}
