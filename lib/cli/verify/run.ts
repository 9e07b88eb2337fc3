import type { DeviceId } from '../../devices'
import { UnsupportedError } from '../../errors'
import { native, type NativeKernel } from '../../native'
import type { DType } from '../../tensor/dtype'
import { flashAttentionCases, pagedAttentionCases, varlenCases } from './attention-cases'
import { type Case, judge } from './case'
import { underTest } from './data'
import { latentRowCases } from './latent-cases'
import { mlaDecodeCases, mlaPrefillCases } from './mla-cases'
import { pageCopyCases, pagedAppendCases, pagedGatherCases } from './paged-cases'
import { quantizeFloat8Cases } from './quantize-cases'
import { copyCases, linearCases, mergeCases, randnCases, rmsNormCases, ropeAppendCases, ropeCases } from './small-op-cases'

export interface KernelResult {
  readonly kernel: string
  readonly op: string
  readonly arch: string
  readonly dtype: string
  readonly status: 'ok' | 'failed' | 'not on this machine'
  /** Cases that the kernel computed; others of the op it may refuse. */
  readonly cases: number
  readonly maxError: number
  /** Largest error over what rounding explains. */
  readonly share: number
  /** What is wrong, or why the kernel does not run here. */
  readonly reason?: string
}

/** The cases of each op of the registry. A new op without cases fails, it is not passed over. */
const casesByOp: Readonly<Record<string, readonly Case[]>> = {
  attention: [...flashAttentionCases, ...varlenCases, ...pagedAttentionCases, ...mlaPrefillCases],
  mlaDecode: mlaDecodeCases,
  linear: linearCases,
  rmsNorm: rmsNormCases,
  rope: ropeCases,
  mergeStates: mergeCases,
  copy: copyCases,
  randn: randnCases,
  pagedAppend: pagedAppendCases,
  ropeAppend: ropeAppendCases,
  pageCopy: pageCopyCases,
  pagedGather: pagedGatherCases,
  latentAppend: latentRowCases,
  latentGather: latentRowCases,
  quantizeFloat8: quantizeFloat8Cases,
}

/** Runs every kernel that the registry has for a device by name, for each of its dtypes, one result at a time. */
export function* verifyKernels(device: DeviceId, op?: string): Generator<KernelResult> {
  const type = device === 'cpu' ? 'cpu' : 'cuda'
  for (const kernel of native.kernels()) {
    if (kernel.device !== type || (op !== undefined && kernel.op !== op)) continue
    for (const dtype of kernel.dtypes) yield verifyKernel(kernel, dtype as DType, casesByOp[kernel.op] ?? [], device)
  }
}

/** One kernel and dtype, with every other kernel of its op locked out. */
export function verifyKernel(kernel: NativeKernel, dtype: DType, cases: readonly Case[], device: DeviceId = 'cpu'): KernelResult {
  const facts = { kernel: kernel.name, op: kernel.op, arch: kernel.arch, dtype }
  const nothing = { cases: 0, maxError: 0, share: 0 }
  if (kernel.unusable !== '') return { ...facts, ...nothing, status: 'not on this machine', reason: kernel.unusable }
  let [ran, maxError, share] = [0, 0, 0]
  const failures: string[] = []
  for (const test of cases) {
    if (test.without?.includes(dtype)) continue
    try {
      const before = runsOf(kernel.name)
      const outcome = judge(underTest(device, kernel.name, () => test.run(dtype)))
      // An op that chose another kernel would make this row look good for nothing.
      if (runsOf(kernel.name) === before) failures.push(`${test.name}: another kernel answered`)
      if (outcome.failure !== undefined) failures.push(`${test.name}: ${outcome.failure}`)
      ;[ran, maxError, share] = [ran + 1, Math.max(maxError, outcome.maxError), Math.max(share, outcome.share)]
    } catch (error) {
      if (!(error instanceof UnsupportedError)) failures.push(`${test.name}: ${(error as Error).message}`)
    }
  }
  if (cases.length === 0) failures.push(`verify has no case for the op ${kernel.op}`)
  else if (ran === 0 && failures.length === 0) failures.push('it refused every case')
  const reason = failures[0]
  return { ...facts, cases: ran, maxError, share, ...(reason === undefined ? { status: 'ok' } : { status: 'failed', reason }) }
}

function runsOf(name: string): number {
  return native.kernels().find((kernel) => kernel.name === name)?.runs ?? 0
}
