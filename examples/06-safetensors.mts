// A layer from a checkpoint file. The example writes a small file first, so that it runs by itself.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GroupedQueryAttention, loadAttentionWeights, SafetensorsFile, Tensor } from 'node-flash-attention'

const [hiddenSize, numHeads, numKvHeads, headDim] = [64, 4, 2, 16]
const prefix = 'model.layers.0.self_attn'
const shapes = { q_proj: [64, 64], k_proj: [32, 64], v_proj: [32, 64], o_proj: [64, 64] }

/** A safetensors file: the length of the header in 8 bytes, the header in JSON, then the elements. */
function writeCheckpoint(path: string): void {
  const header: Record<string, { dtype: 'F32'; shape: number[]; data_offsets: [number, number] }> = {}
  const data: Buffer[] = []
  let at = 0
  for (const [i, [name, shape]] of Object.entries(shapes).entries()) {
    const bits = Tensor.randn(shape, { seed: i }).readSync()
    header[`${prefix}.${name}.weight`] = { dtype: 'F32', shape, data_offsets: [at, (at += bits.byteLength)] }
    data.push(Buffer.from(bits.buffer))
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  writeFileSync(path, Buffer.concat([length, json, ...data]))
}

const folder = mkdtempSync(join(tmpdir(), 'attention-'))
writeCheckpoint(join(folder, 'model.safetensors'))

using file = await SafetensorsFile.open(join(folder, 'model.safetensors'))
for (const name of file.names) console.log(name, file.info(name).shape)

const weights = await loadAttentionWeights(file, prefix, { naming: 'llama', dtype: 'bfloat16' })
using layer = new GroupedQueryAttention({ hiddenSize, numHeads, numKvHeads, headDim, rope: { interleaved: false } }, weights)
console.log('out', layer.forward(Tensor.randn([1, 3, hiddenSize], { dtype: 'bfloat16', seed: 9 })).shape)
rmSync(folder, { recursive: true })
