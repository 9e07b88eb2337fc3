import { checkInteger, fail } from '../check'
import { ArgumentError } from '../errors'
import { bytesPerElement, type DType } from './dtype'

export type Shape = readonly number[]

const mostAxes = 8

export function shapeText(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

export function sizeOf(shape: Shape): number {
  let size = 1
  for (const extent of shape) size *= extent
  return size
}

/** A frozen copy: at most 8 axes of non-negative integers, at most 2^53 bytes in all. */
export function checkShape(argument: string, shape: unknown, dtype: DType): Shape {
  if (!Array.isArray(shape)) fail(argument, 'an array of axis lengths', shape)
  const axes = shape as readonly unknown[]
  if (axes.length > mostAxes) throw new ArgumentError(argument, `at most ${mostAxes} axes`, `${axes.length} axes`)
  const checked = new Array<number>(axes.length)
  for (let axis = 0; axis < axes.length; ++axis) {
    const extent = axes[axis]
    // The name of an axis is made only where it is wrong.
    checked[axis] = typeof extent === 'number' && Number.isInteger(extent) && extent >= 0 ? extent : checkInteger(`${argument}[${axis}]`, extent, 0)
  }
  Object.freeze(checked)
  if (sizeOf(checked) * bytesPerElement(dtype) > Number.MAX_SAFE_INTEGER) {
    throw new ArgumentError(argument, 'at most 2^53 - 1 bytes', shapeText(checked))
  }
  return checked
}

/** Row-major strides in elements. */
export function packedStrides(shape: Shape): readonly number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; --axis) {
    strides[axis] = stride
    stride *= shape[axis]!
  }
  return Object.freeze(strides)
}

/**
 * The strides that give the elements of a strided view another shape without a copy, or undefined where there are none:
 * axes are regrouped over runs of the old axes that step evenly.
 */
export function reshapedStrides(shape: Shape, strides: readonly number[], target: Shape): readonly number[] | undefined {
  if (sizeOf(shape) === 0 || shape.length === 0) return packedStrides(target)
  const kept = shape.flatMap((extent, axis) => (extent === 1 ? [] : [{ extent, stride: strides[axis]! }]))
  // Runs of axes that walk memory evenly, innermost last.
  const runs: { extent: number; stride: number }[] = []
  for (const axis of kept) {
    const last = runs.at(-1)
    if (last !== undefined && last.stride === axis.stride * axis.extent) {
      last.extent *= axis.extent
      last.stride = axis.stride
    } else {
      runs.push({ ...axis })
    }
  }
  const result = new Array<number>(target.length)
  let run = runs.length - 1
  let used = 1
  for (let axis = target.length - 1; axis >= 0; --axis) {
    const extent = target[axis]!
    if (extent === 1) {
      result[axis] = run >= 0 ? runs[run]!.stride * used : 1
      continue
    }
    if (run >= 0 && used === runs[run]!.extent) {
      run -= 1
      used = 1
    }
    if (run < 0 || runs[run]!.extent % (used * extent) !== 0) return undefined
    result[axis] = runs[run]!.stride * used
    used *= extent
  }
  return Object.freeze(result)
}

/** The shape that `size` elements are given, with the axis of -1 worked out. */
export function inferAxis(shape: unknown, size: number, dtype: DType): Shape {
  if (!Array.isArray(shape)) fail('shape', 'an array of axis lengths', shape)
  const axes = shape as unknown[]
  const free = axes.indexOf(-1)
  if (free < 0) {
    const checked = checkShape('shape', axes, dtype)
    if (sizeOf(checked) !== size) throw new ArgumentError('shape', `${size} elements`, shapeText(checked), 'SHAPE_MISMATCH')
    return checked
  }
  const rest = sizeOf(checkShape('shape', axes.with(free, 1), dtype))
  if (rest === 0 || size % rest !== 0) throw new ArgumentError('shape', `a shape for ${size} elements`, shapeText(axes as number[]), 'SHAPE_MISMATCH')
  return checkShape('shape', axes.with(free, size / rest), dtype)
}
