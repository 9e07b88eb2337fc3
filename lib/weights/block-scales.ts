import { ArgumentError } from '../errors'
import { shapeText, type Shape } from '../tensor/shape'
import { tensorDType } from './safetensors-dtype'
import type { SafetensorsFile } from './safetensors-file'

/** Rows and columns that share one scale in DeepSeek-V3's fp8 checkpoints. */
const scaleBlock = 128

/**
 * The name of an fp8 matrix's block scales: `<weight>_scale_inv` [ceil(out / 128), ceil(in / 128)], by which DeepSeek-V3's checkpoints
 * multiply the codes; undefined where the file has none. Throws ArgumentError for scales of another shape, dtype or scheme.
 */
export function blockScalesOf(file: SafetensorsFile, weight: string, shape: Shape): string | undefined {
  const name = `${weight}_scale_inv`
  if (file.info(weight).dtype !== 'F8_E4M3') return undefined
  // Per-tensor and per-channel schemes call theirs so; leaving them out would give plausible nonsense.
  if (file.has(`${weight}_scale`)) throw new ArgumentError(weight, `fp8 block scales named ${name}`, `${weight}_scale`, 'UNSUPPORTED')
  if (!file.has(name)) return undefined
  const scales = file.info(name)
  const expected = shapeText(shape.map((dim) => Math.ceil(dim / scaleBlock)))
  const received = shapeText(scales.shape)
  if (expected !== received) throw new ArgumentError(name, `shape ${expected}`, received, 'SHAPE_MISMATCH')
  const dtype = tensorDType(scales.dtype)
  if (dtype === undefined || dtype === 'float8_e4m3') throw new ArgumentError(name, 'dtype F32, F16 or BF16', scales.dtype, 'UNSUPPORTED')
  return name
}

/** Multiplies `values` [rows, cols] by the scale of the block that each element lies in; in place. */
export function applyBlockScales(values: Float32Array, [rows = 1, cols = 1]: Shape, scales: Float32Array): void {
  const blocksPerRow = Math.ceil(cols / scaleBlock)
  for (let row = 0; row < rows; ++row) {
    const scaleRow = Math.floor(row / scaleBlock) * blocksPerRow
    for (let col = 0; col < cols; ++col) values[row * cols + col]! *= scales[scaleRow + Math.floor(col / scaleBlock)]!
  }
}
