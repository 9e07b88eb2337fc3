import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { CommandError } from '../../command-error'

/** What `attn_tests --sweep` prints: the fused kernels beside the unfused composition of the same micro-kernels, float32. */
export interface UnfusedReport {
  readonly isa: string
  readonly threads: number
  readonly dtype: string
  readonly shapes: readonly UnfusedShape[]
}
export interface UnfusedShape {
  readonly op: 'prefill' | 'decode'
  readonly length: number
  readonly heads: readonly [numQoHeads: number, numKvHeads: number]
  readonly dim: number
  readonly causal: boolean
  readonly fusedSeconds: number
  readonly unfusedSeconds: number
  /** The median of the rounds' ratios: below 1 the fused kernel lost. */
  readonly unfusedOverFused: number
  readonly rounds: number
}

/** Beforehand: the minutes until it is needed would be lost. */
export function checkProgram(file: string): void {
  try {
    accessSync(file, constants.X_OK)
  } catch {
    throw new CommandError(`--unfused: ${file} is no program`)
  }
}

/** Runs the C++ tests' program; ends the run where the two compute different results. */
export function measureUnfused(program: string): UnfusedReport {
  const { error, status, stdout } = spawnSync(program, ['--sweep'], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (error) throw new CommandError(`--unfused: ${program} did not run: ${error.message}`)
  if (status !== 0) throw new CommandError(`--unfused: ${program} --sweep ended with status ${status ?? 'none'}: the two disagree, or it is no attn_tests`)
  try {
    return JSON.parse(stdout) as UnfusedReport
  } catch (cause) {
    throw new CommandError(`--unfused: ${program} --sweep printed no result: ${(cause as Error).message}`)
  }
}
