import { checkBoolean, checkFinite, checkOneOf, checkOptions, checkPositive, fail } from '../check'
import { ArgumentError } from '../errors'
import type { NativeRopeOptions } from '../native'

/** How a checkpoint stretches its rotary embedding beyond the length that it was trained on. */
export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'llama3'; factor: number; lowFreqFactor: number; highFreqFactor: number; originalMaxPositions: number }
  | { type: 'yarn'; factor: number; originalMaxPositions: number; betaFast?: number; betaSlow?: number; mscale?: number; mscaleAllDim?: number }

export interface RopeConfig {
  /** Default 10000. */
  theta?: number
  /** true: pairs (2i, 2i+1), as DeepSeek; false: pairs (i, i + dim/2), as Llama, Qwen and Mistral. */
  interleaved: boolean
  scaling?: RopeScaling
}

const scalingKeys = {
  linear: ['type', 'factor'],
  llama3: ['type', 'factor', 'lowFreqFactor', 'highFreqFactor', 'originalMaxPositions'],
  yarn: ['type', 'factor', 'originalMaxPositions', 'betaFast', 'betaSlow', 'mscale', 'mscaleAllDim'],
} as const

/** YaRN's 0.1 · m · ln(factor) + 1 (Peng et al., 2023; with m as DeepSeek's checkpoints give it). */
export function yarnMagnitude(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1
}

const configKeys = ['theta', 'interleaved', 'scaling'] as const

interface ScalingOptions {
  scaling: string
  factor: number
  lowFreqFactor: number
  highFreqFactor: number
  originalMaxPositions: number
  betaFast: number
  betaSlow: number
  magnitude: number
}
const noScaling: Readonly<ScalingOptions> = {
  scaling: '', factor: 1, lowFreqFactor: 1, highFreqFactor: 4, originalMaxPositions: 1, betaFast: 32, betaSlow: 1, magnitude: 1,
}

function scalingNumber(argument: string, scaling: Record<string, unknown>, key: string, fallback?: number): number {
  return scaling[key] === undefined && fallback !== undefined ? fallback : checkPositive(`${argument}.scaling.${key}`, scaling[key])
}

/** Checks a rotary configuration and words it for the addon; `dim` features are rotated. */
export function nativeRopeOptions(argument: string, config: RopeConfig, dim: number): NativeRopeOptions {
  const { theta = 10000, interleaved, scaling } = checkOptions(argument, config, configKeys)
  checkBoolean(`${argument}.interleaved`, interleaved)
  checkPositive(`${argument}.theta`, theta)
  const s = scalingOptions(argument, scaling)
  return [
    dim, interleaved!, theta, s.scaling, s.factor, s.lowFreqFactor, s.highFreqFactor, s.originalMaxPositions, s.betaFast, s.betaSlow, s.magnitude,
  ]
}

function scalingOptions(argument: string, scaling: RopeScaling | undefined): ScalingOptions {
  if (scaling === undefined) return noScaling
  const options = { ...noScaling }
  if (typeof scaling !== 'object' || (scaling as unknown) === null) fail(`${argument}.scaling`, 'a scaling object', scaling)
  const type = checkOneOf(`${argument}.scaling.type`, (scaling as { type?: unknown }).type, ['linear', 'llama3', 'yarn'])
  const given: Record<string, unknown> = checkOptions(`${argument}.scaling`, scaling as Record<string, unknown>, scalingKeys[type])
  options.scaling = type
  options.factor = scalingNumber(argument, given, 'factor')
  if (type === 'linear') return options
  options.originalMaxPositions = scalingNumber(argument, given, 'originalMaxPositions')
  if (type === 'llama3') {
    options.lowFreqFactor = scalingNumber(argument, given, 'lowFreqFactor')
    options.highFreqFactor = scalingNumber(argument, given, 'highFreqFactor')
    if (options.highFreqFactor <= options.lowFreqFactor) {
      throw new ArgumentError(`${argument}.scaling.highFreqFactor`, `a number above lowFreqFactor (${options.lowFreqFactor})`, `${options.highFreqFactor}`)
    }
    return options
  }
  options.betaFast = scalingNumber(argument, given, 'betaFast', 32)
  options.betaSlow = scalingNumber(argument, given, 'betaSlow', 1)
  options.magnitude = cosSinMagnitude(argument, options.factor, given)
  return options
}

/** Throws what `rope` would throw for this configuration and so many features. */
export function checkRopeConfig(argument: string, config: RopeConfig, dim: number): void {
  nativeRopeOptions(argument, config, dim)
}

/** The factor on cos and sin: the ratio of the two mscales where both are given, else YaRN's own. */
function cosSinMagnitude(argument: string, factor: number, scaling: Record<string, unknown>): number {
  const [mscale, mscaleAllDim] = (['mscale', 'mscaleAllDim'] as const).map((key) =>
    scaling[key] === undefined ? undefined : checkFinite(`${argument}.scaling.${key}`, scaling[key]),
  )
  if (mscale && mscaleAllDim) return yarnMagnitude(factor, mscale) / yarnMagnitude(factor, mscaleAllDim)
  return yarnMagnitude(factor, 1)
}
