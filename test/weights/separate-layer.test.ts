import { loadMlaWeights, MultiHeadLatentAttention, SafetensorsFile, Tensor, type FloatTensor, type MlaConfig } from '../../lib/index'
import { linear } from '../reference/linear'
import { rmsNorm } from '../reference/rms-norm'
import { expectClose } from '../support/compare'
import { Random } from '../support/random'
import { safetensorsFile, stored, temporaryFiles } from '../support/safetensors'

const write = temporaryFiles()
const random = new Random(41)
const [len, hidden, heads, qRank, kvRank, nope, rope, vDim] = [4, 10, 3, 7, 5, 4, 2, 3]
const config: MlaConfig = {
  hiddenSize: hidden, numHeads: heads, qLoraRank: qRank, kvLoraRank: kvRank, qkNopeHeadDim: nope, qkRopeHeadDim: rope, vHeadDim: vDim,
  rope: null, normEps: 1e-5, keyRopeScale: 1 / heads,
}
const shapes = {
  compress_q_linear: [qRank, hidden], q_norm: [qRank], decompress_q_nope: [heads * nope, qRank], decompress_q_rope: [heads * rope, qRank],
  compress_kv_linear: [kvRank, hidden], kv_norm: [kvRank], decompress_k_nope: [heads * nope, kvRank], decompress_v_linear: [heads * vDim, kvRank],
  k_rope_linear: [rope, hidden], proj: [hidden, heads * vDim],
} as const
type Name = keyof typeof shapes
const numbers = Object.fromEntries(
  Object.entries(shapes).map(([name, shape]) => [name, Float32Array.from(random.normals(shape.reduce((size, dim) => size * dim, 1)))]),
) as Record<Name, Float32Array>
const x = Float32Array.from(random.normals(len * hidden))

/** The study's layer from its own, unfused matrices, in float64 and without rotation. */
function separateLayer(): Float64Array {
  const q = rmsNorm(linear(x, numbers.compress_q_linear, hidden), numbers.q_norm, 1e-5)
  const kv = rmsNorm(linear(x, numbers.compress_kv_linear, hidden), numbers.kv_norm, 1e-5)
  const [qNope, qRope] = [linear(q, numbers.decompress_q_nope, qRank), linear(q, numbers.decompress_q_rope, qRank)]
  const [kNope, v] = [linear(kv, numbers.decompress_k_nope, kvRank), linear(kv, numbers.decompress_v_linear, kvRank)]
  const kRope = linear(x, numbers.k_rope_linear, hidden).map((value) => value / heads)
  const out = new Float64Array(len * heads * vDim)
  for (let row = 0; row < len; ++row) {
    for (let head = 0; head < heads; ++head) {
      const weights = new Float64Array(row + 1)
      for (let key = 0; key <= row; ++key) {
        let logit = 0
        for (let d = 0; d < nope; ++d) logit += qNope[(row * heads + head) * nope + d]! * kNope[(key * heads + head) * nope + d]!
        for (let d = 0; d < rope; ++d) logit += qRope[(row * heads + head) * rope + d]! * kRope[key * rope + d]!
        weights[key] = Math.exp(logit / Math.sqrt(nope + rope))
      }
      const sum = weights.reduce((total, weight) => total + weight, 0)
      for (const [key, weight] of weights.entries()) {
        for (let d = 0; d < vDim; ++d) out[(row * heads + head) * vDim + d]! += (weight / sum) * v[(key * heads + head) * vDim + d]!
      }
    }
  }
  return linear(out, numbers.proj, heads * vDim)
}

test.each(['expanded', 'absorbed'] as const)('a fused layer computes what its separate matrices define (%s)', async (form) => {
  const tensors = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`${name}.weight`, stored('float32', shape, numbers[name as Name])]))
  using file = await SafetensorsFile.open(write('separate.safetensors', safetensorsFile(tensors)))
  const weights = await loadMlaWeights(file, '', { naming: 'separate', config })
  using layer = new MultiHeadLatentAttention(config, weights)
  for (const weight of Object.values(weights) as FloatTensor[]) weight.dispose()
  using input = Tensor.from(x, [1, len, hidden])
  using out = layer.forward(input, { form })
  const expected = separateLayer()
  // Seven float32 products of at most 10 terms in a row: some hundred roundings of 2^-24 at the size of the largest number.
  expectClose(await out.read(), expected, 200 * 2 ** -24 * Math.max(...expected.map(Math.abs)))
})
