import type { DeviceId } from '../../devices'
import type { ComputeDType } from '../../tensor/dtype'
import { type FloatTensor, Tensor } from '../../tensor/tensor'

export interface RandomSettings {
  readonly device: DeviceId
  readonly dtype: ComputeDType
  readonly seed: number
}
export interface RandomTensors {
  /** Standard normal numbers. */
  normal(shape: readonly number[]): FloatTensor
  /** [out, in] normal numbers over √in: keeps the size of what passes through. */
  matrix(rows: number, columns: number): FloatTensor
  ones(width: number): FloatTensor
}

/**
 * Weights repeat this many numbers, a prime, so that no two rows of a matrix are alike: drawing each of up to a billion numbers
 * would take longer than the measuring.
 */
const stockSize = 1_000_003

/** Seeded weights and inputs. */
export function randomTensors({ device, dtype, seed }: RandomSettings): RandomTensors {
  let stream = seed
  let used = 0
  const drawn = Tensor.randn([stockSize], { seed: stream++ })
  const stock = drawn.readSync() as Float32Array
  drawn.dispose()
  return {
    normal: (shape) => Tensor.randn(shape, { dtype, device, seed: stream++ }),
    matrix: (rows, columns) => {
      const scale = 1 / Math.sqrt(columns)
      const scaled = stock.map((value) => value * scale)
      const numbers = new Float32Array(rows * columns)
      for (let at = 0; at < numbers.length;) {
        const part = scaled.subarray(used, used + numbers.length - at)
        numbers.set(part, at)
        at += part.length
        used = (used + part.length) % stockSize
      }
      // No second copy where the numbers can stay as they are: a layer's weights may be gigabytes.
      if (dtype === 'float32' && device === 'cpu') return Tensor.wrap(numbers, [rows, columns], dtype)
      return Tensor.from(numbers, [rows, columns], { dtype, device })
    },
    ones: (width) => Tensor.from(new Float32Array(width).fill(1), [width], { dtype, device }),
  }
}
