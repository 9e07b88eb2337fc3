import type { ReferenceResult } from './attention'

/** out = Σ exp(lseₛ - lse) outₛ, lse = log Σ exp(lseₛ). `lseIndex` finds the row of lse that belongs to a row of out. +∞ counts as -∞. */
export function mergeStates(states: readonly ReferenceResult[], dim: number, lseIndex: (row: number) => number): ReferenceResult {
  const rows = states[0]!.out.length / dim
  const out = new Float64Array(rows * dim)
  const lse = new Float64Array(rows)
  for (let row = 0; row < rows; ++row) {
    const at = lseIndex(row)
    const lses = states.map((state) => (state.lse[at] === Infinity ? -Infinity : state.lse[at]!))
    const max = Math.max(...lses)
    lse[at] = max
    if (max === -Infinity) continue
    const weights = lses.map((value) => Math.exp(value - max))
    const sum = weights.reduce((total, weight) => total + weight, 0)
    lse[at] = max + Math.log(sum)
    for (const [s, weight] of weights.entries()) {
      if (weight === 0) continue // an empty part adds nothing, whatever its out holds
      for (let d = 0; d < dim; ++d) out[row * dim + d]! += (weight / sum) * states[s]!.out[row * dim + d]!
    }
  }
  return { out, lse }
}

/** out [batch, len, heads, dim] with lse [batch, heads, len]. */
export function batchLseIndex(len: number, heads: number): (row: number) => number {
  return (row) => {
    const h = row % heads
    const i = Math.floor(row / heads) % len
    const b = Math.floor(row / heads / len)
    return (b * heads + h) * len + i
  }
}
