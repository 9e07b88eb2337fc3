import { rmsNorm, rope, Tensor, type DeviceId, type FloatDType, type FloatTensor, type Shape } from '../../lib/index'
import type { Numbers } from '../reference/attention'

export function tensorOf<D extends FloatDType>(values: Numbers, shape: Shape, dtype: D, device: DeviceId): Tensor<D> {
  return Tensor.from(values, shape, { dtype, device })
}

export function int32Of(values: readonly number[], shape: Shape, device: DeviceId): Tensor<'int32'> {
  return Tensor.from(values, shape, { dtype: 'int32', device })
}

export function sizeOf(shape: Shape): number {
  return shape.reduce((size, extent) => size * extent, 1)
}

/** Fills the tensor with NaN, through the `out` of an op, so that it works for caches and on every device. */
export function poison(tensor: FloatTensor): void {
  const width = tensor.shape.at(-1)!
  using nan = Tensor.from(new Float32Array(tensor.size).fill(NaN), tensor.shape, { dtype: tensor.dtype, device: tensor.device })
  using one = Tensor.from(new Float32Array(width).fill(1), [width], { dtype: tensor.dtype, device: tensor.device })
  rmsNorm(nan, one, { out: tensor })
}

/**
 * The same numbers seen through other strides: a view of a larger tensor full of NaN on every side, with the axes stored in the order `order`.
 * A kernel that reads one element beside the view shows it.
 */
export function stridedView<D extends FloatDType>(
  values: Numbers, shape: Shape, dtype: D, device: DeviceId, { order, margin = 1 }: { order?: readonly number[]; margin?: number } = {},
): Tensor<D> {
  const axes = order ?? shape.map((_, axis) => axis)
  const storedShape = axes.map((axis) => shape[axis]! + 2 * margin)
  const stored = new Float64Array(sizeOf(storedShape)).fill(NaN)
  const strideOf = new Array<number>(shape.length).fill(0)
  let stride = 1
  for (let i = axes.length - 1; i >= 0; --i) {
    strideOf[axes[i]!] = stride
    stride *= storedShape[i]!
  }
  for (let n = 0; n < values.length; ++n) {
    let rest = n
    let to = 0
    for (let axis = shape.length - 1; axis >= 0; --axis) {
      to += ((rest % shape[axis]!) + margin) * strideOf[axis]!
      rest = Math.floor(rest / shape[axis]!)
    }
    stored[to] = values[n]!
  }
  let view: Tensor<D> = Tensor.from(stored, storedShape, { dtype, device })
  // Bring each axis to its place; `at` follows where the stored axes have gone.
  const at = [...axes]
  for (let axis = 0; axis < at.length; ++axis) {
    const from = at.indexOf(axis)
    if (from !== axis) {
      view = view.transpose(axis, from)
      at[from] = at[axis]!
      at[axis] = axis
    }
  }
  for (const [axis, extent] of shape.entries()) view = view.slice(axis, margin, margin + extent)
  return view
}

/** Writes the numbers of `source` into `view`, of the same four-axis shape: a rotation by nothing, since only ops write to a tensor. */
export function assign<D extends FloatDType>(view: Tensor<D>, source: FloatTensor): Tensor<D> {
  using positions = Tensor.zeros(view.shape.slice(0, 2), { dtype: 'int32', device: view.device })
  rope(source, { interleaved: true }, { positions, dim: 2, out: view })
  return view
}
