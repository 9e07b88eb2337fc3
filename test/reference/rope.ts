import type { Numbers } from './attention'

export type ReferenceScaling =
  | { type: 'linear'; factor: number }
  | { type: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalMaxPositions: number }
  | { type: 'yarn'; factor: number; originalMaxPositions: number; betaFast?: number; betaSlow?: number; mscale?: number; mscaleAllDim?: number }

export interface ReferenceRope {
  readonly theta?: number
  readonly interleaved: boolean
  readonly scaling?: ReferenceScaling
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high)

/** Radians per position of each of the dim/2 pairs. */
export function ropeFrequencies(dim: number, { theta = 10000, scaling }: ReferenceRope): number[] {
  const plain = Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim))
  if (!scaling) return plain
  if (scaling.type === 'linear') return plain.map((frequency) => frequency / scaling.factor)
  if (scaling.type === 'llama3') {
    const { factor, lowFreqFactor: low, highFreqFactor: high, originalMaxPositions } = scaling
    return plain.map((frequency) => {
      const turns = (originalMaxPositions * frequency) / (2 * Math.PI) // over the original length
      const blend = clamp((turns - low) / (high - low), 0, 1)
      return blend * frequency + ((1 - blend) * frequency) / factor
    })
  }
  const { factor, originalMaxPositions, betaFast = 32, betaSlow = 1 } = scaling
  /** The pair (as a fractional dim) that makes so many turns over the original length. */
  const dimOfTurns = (turns: number): number => (dim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const low = clamp(Math.floor(dimOfTurns(betaFast)), 0, dim - 1)
  const high = clamp(Math.ceil(dimOfTurns(betaSlow)), 0, dim - 1)
  return plain.map((frequency, i) => {
    const ramp = clamp((i - low) / (high === low ? 0.001 : high - low), 0, 1)
    return (ramp * frequency) / factor + (1 - ramp) * frequency
  })
}

/** YaRN's factor on cos and sin. */
export function ropeMagnitude({ scaling }: ReferenceRope): number {
  if (scaling?.type !== 'yarn') return 1
  const mscale = (m: number): number => 0.1 * m * Math.log(scaling.factor) + 1
  if (scaling.mscale !== undefined && scaling.mscaleAllDim !== undefined) return mscale(scaling.mscale) / mscale(scaling.mscaleAllDim)
  return mscale(1)
}

/** x [batch, len, heads, width], the last `dim` features rotated; positions [batch, len]. */
export function rope(
  x: Numbers, shape: readonly [number, number, number, number], config: ReferenceRope, dim: number, positions: Numbers,
): Float64Array {
  const [batch, len, heads, width] = shape
  const frequencies = ropeFrequencies(dim, config)
  const magnitude = ropeMagnitude(config)
  const y = Float64Array.from(x)
  for (let token = 0; token < batch * len; ++token) {
    for (let i = 0; i < dim / 2; ++i) {
      const angle = positions[token]! * frequencies[i]!
      const cos = Math.cos(angle) * magnitude
      const sin = Math.sin(angle) * magnitude
      for (let h = 0; h < heads; ++h) {
        const start = (token * heads + h) * width + width - dim
        const a = start + (config.interleaved ? 2 * i : i)
        const b = start + (config.interleaved ? 2 * i + 1 : i + dim / 2)
        y[a] = x[a]! * cos - x[b]! * sin
        y[b] = x[a]! * sin + x[b]! * cos
      }
    }
  }
  return y
}
