import type { HostTensor } from './host-tensor'

type Bits = HostTensor['bits']

/** A matrix whose rows are dealt out to groups (heads) in order: [groups * rowsPerGroup, width]. */
export interface RowBlock {
  readonly bits: Bits
  readonly rowsPerGroup: number
}

/**
 * Fuses matrices of equal width and element type: for each group, its rows of the first block, then those of the next, and so on.
 * Copies bits, so that nothing is rounded. A single block is returned as it is.
 */
export function fuseRows(blocks: readonly RowBlock[], groups: number, width: number): Bits {
  const [first, ...rest] = blocks
  if (first === undefined) return new Float32Array(0)
  if (rest.length === 0) return first.bits
  const total = blocks.reduce((sum, { bits }) => sum + bits.length, 0)
  const fused = new (first.bits.constructor as new (length: number) => Bits)(total)
  let at = 0
  for (let group = 0; group < groups; ++group) {
    for (const { bits, rowsPerGroup } of blocks) {
      const length = rowsPerGroup * width
      fused.set(bits.subarray(group * length, (group + 1) * length), at)
      at += length
    }
  }
  return fused
}
