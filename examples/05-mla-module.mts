// DeepSeek's multi-head latent attention: one small latent row per token serves all heads.
import { layerCosts, MultiHeadLatentAttention, Tensor, type MlaConfig } from 'node-flash-attention'

const config: MlaConfig = {
  hiddenSize: 256, numHeads: 8, qLoraRank: 96, kvLoraRank: 64, qkNopeHeadDim: 32, qkRopeHeadDim: 16, vHeadDim: 32,
  rope: { interleaved: true },
}
const weight = (seed: number, rows: number, columns: number): Tensor<'float32'> => {
  const normal = Tensor.randn([rows, columns], { seed }).readSync()
  return Tensor.from(normal.map((x) => x / Math.sqrt(columns)), [rows, columns])
}
const ones = (width: number): Tensor<'float32'> => Tensor.from(new Float32Array(width).fill(1), [width])

using layer = new MultiHeadLatentAttention(config, {
  qA: weight(1, 96, 256), qANorm: ones(96), qB: weight(2, 8 * (32 + 16), 96),
  kvA: weight(3, 64 + 16, 256), kvANorm: ones(64), kvB: weight(4, 8 * (32 + 32), 64),
  o: weight(5, 256, 8 * 32),
})

// Expanded builds keys and values per head; absorbed stays in the latent space. The same numbers, at different costs.
const x = Tensor.randn([1, 16, 256], { seed: 6 })
const [expanded, absorbed] = await Promise.all((['expanded', 'absorbed'] as const).map((form) => layer.forward(x, { form }).read()))
console.log('both forms agree:', expanded!.every((value, i) => Math.abs(value - absorbed![i]!) < 1e-4))

using cache = layer.createCache({ numPages: 4 })
using sequence = cache.open()
layer.forward(x, { cache, sequences: [sequence] })
console.log('next token:', layer.forward(Tensor.randn([1, 1, 256], { seed: 7 }), { cache, sequences: [sequence] }).shape)

const gqa = layerCosts({ hiddenSize: 256, numHeads: 8, rope: null }, 'float32')
console.log(`bytes per token: ${cache.stats.bytesPerToken} here, ${gqa.kvBytesPerToken} with MHA of the same heads`)
