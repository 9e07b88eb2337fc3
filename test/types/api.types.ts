/* eslint-disable @typescript-eslint/no-unnecessary-type-parameters, @typescript-eslint/no-unsafe-class-instance-assignment --
   type parameters are what is tested here, and so is what the compiler itself refuses */
/** Never run: what the public types promise, checked by the compiler (types.test.ts runs it over this file). */
import {
  flashAttention, flashAttentionVarlen, linear, mergeStates, mlaDecode, pagedAttention, PagedKvCache, quantizeFloat8, rmsNorm, rope, Tensor,
  type AttentionPlan, type AttentionState, type DeviceId, type FloatTensor, type IndexTensor, type MlaKvCache, type PageBatch,
} from '../../lib/index'

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles where the value is of exactly this type. */
declare function expectType<T>(): <U>(value: U & (Equal<T, U> extends true ? unknown : never)) => void

declare const q: FloatTensor
declare const half: Tensor<'float16'>
declare const index: IndexTensor
declare const flag: boolean
declare const cache: PagedKvCache
declare const mlaCache: MlaKvCache
declare const batch: PageBatch
declare const plan: AttentionPlan

export function tensors(): void {
  expectType<Tensor<'float32'>>()(Tensor.from([1], [1]))
  expectType<Tensor<'bfloat16'>>()(Tensor.from([1], [1], { dtype: 'bfloat16', device: 'cpu' }))
  expectType<'int32'>()(index.dtype)
  expectType<Tensor<'int32'>>()(half.cast('int32'))
  expectType<Tensor<'float16'>>()(half.slice(0, 0, 1).reshape([1]).transpose(0, 0).to('cuda:0'))
  expectType<Promise<Uint16Array>>()(half.readBits())
  const floats: FloatTensor = half
  floats.dispose()
  const device: DeviceId = 'cuda:1'
  Tensor.empty([1], { device })
  // @ts-expect-error the constructor is private
  new Tensor()
  // @ts-expect-error shapes are read-only
  half.shape[0] = 1
  // @ts-expect-error not a dtype
  Tensor.from([1], [1], { dtype: 'float64' })
  // @ts-expect-error not a device
  Tensor.from([1], [1], { device: 'gpu' })
  // @ts-expect-error random numbers are floats
  Tensor.randn([1], { dtype: 'int32' })
  // @ts-expect-error the bits of bfloat16 are 16 wide
  Tensor.fromBits(new Uint8Array(1), [1], { dtype: 'bfloat16' })
  // @ts-expect-error bits say nothing about their dtype
  Tensor.fromBits(new Uint16Array(1), [1], {})
  // @ts-expect-error wrapped memory is used as it is
  Tensor.wrap(new Float64Array(1), [1], 'float32')
  // @ts-expect-error integers are no FloatTensor
  const wrong: FloatTensor = index
  wrong.dispose()
}

export function float8(scales: Tensor<'float32'>, codes: Tensor<'float8_e4m3'>): void {
  flashAttention(codes, codes, codes, { queryScales: scales, keyScales: scales, valueScales: scales, dtype: 'float16' })
  flashAttentionVarlen(q, codes, codes, { qoIndptr: [0], kvIndptr: [0], keyScales: scales })
  pagedAttention(codes, cache, batch, { queryScales: scales, dtype: 'float32' })
  // @ts-expect-error a cache has its own
  pagedAttention(q, cache, batch, { keyScales: scales })
  // @ts-expect-error scales are float32
  flashAttention(codes, codes, codes, { keyScales: half })
  // @ts-expect-error out is of a dtype that ops compute with
  flashAttention(codes, codes, codes, { dtype: 'float8_e4m3' })
  expectType<Tensor<'float32'> | undefined>()(cache.keyScales)
  new PagedKvCache({ numPages: 1, numKvHeads: 1, headDimQk: 64, dtype: 'float8_e4m3', keyScales: scales }).dispose()
}

export function attentionResults(): void {
  const plain = flashAttention(q, q, q)
  expectType<{ readonly out: FloatTensor }>()(plain)
  // @ts-expect-error no lse was asked for
  plain.lse.dispose()
  const both = flashAttention(q, q, q, { returnLse: true })
  expectType<{ readonly out: FloatTensor; readonly lse: Tensor<'float32'> }>()(both)
  const state: AttentionState = both
  expectType<AttentionState>()(mergeStates([state, both]))
  // @ts-expect-error a state needs its lse
  mergeStates([plain])
  const unknownFlag = flashAttention(q, q, q, { returnLse: flag })
  unknownFlag.out.dispose()
}

export function attentionOptions(): void {
  flashAttention(q, q, half, {
    causal: true, window: { left: 4095, right: 0 }, softmaxScale: 1, logitSoftcap: 50, alibiSlopes: Tensor.zeros([8]), sinks: Tensor.zeros([8]),
    kvLens: index, out: half,
  })
  // @ts-expect-error an unknown option
  flashAttention(q, q, q, { isCausal: true })
  // @ts-expect-error an unknown side
  flashAttention(q, q, q, { window: { top: 1 } })
  // @ts-expect-error slopes are float32
  flashAttention(q, q, q, { alibiSlopes: half })
  // @ts-expect-error integers cannot attend
  flashAttention(index, q, q)
  // @ts-expect-error both indptr are needed
  flashAttentionVarlen(q, q, q, { qoIndptr: [0, 1] })
  const packed = flashAttentionVarlen(q, q, q, { qoIndptr: [0, 1], kvIndptr: Int32Array.of(0, 1), returnLse: true })
  expectType<Tensor<'float32'>>()(packed.lse)
}

export function caches(): void {
  const paged = pagedAttention(q, cache, batch, { plan, returnLse: true })
  expectType<Tensor<'float32'>>()(paged.lse)
  expectType<AttentionPlan>()(pagedAttention.plan(cache, batch, { qoLen: 1, numQoHeads: 8 }))
  expectType<{ readonly out: FloatTensor }>()(mlaDecode(q, q, mlaCache, batch, { softmaxScale: 0.1 }))
  // @ts-expect-error the scale of MLA cannot be told from the shapes
  mlaDecode(q, q, mlaCache, batch, {})
  // @ts-expect-error latents are not keys and values
  pagedAttention(q, mlaCache, batch)
  // @ts-expect-error kvLens are those of the batch
  pagedAttention(q, cache, batch, { kvLens: index })
  // @ts-expect-error a batch is frozen
  batch.pageTable = index
}

export function smallOps(): void {
  const scaling = { type: 'yarn', factor: 40, originalMaxPositions: 4096 } as const
  expectType<FloatTensor>()(rope(q, { interleaved: true, scaling }, { positions: index, dim: 64, out: q }))
  // @ts-expect-error exactly means exactly
  expectType<Tensor<'float32'>>()(rope(q, { interleaved: true }))
  // @ts-expect-error the pairing has no default: checkpoints differ
  rope(q, { theta: 10000 })
  // @ts-expect-error llama3 needs its lengths
  rope(q, { interleaved: false, scaling: { type: 'llama3', factor: 8 } })
  rmsNorm(q, half, { eps: 1e-6 })
  // @ts-expect-error weights are floats
  rmsNorm(q, index)
  linear(q, half, { bias: half, out: q })
  const quantized = quantizeFloat8(q, { groupSize: 2, indptr: [0, 3] })
  expectType<Tensor<'float8_e4m3'>>()(quantized.codes)
  expectType<Tensor<'float32'>>()(quantized.scales)
  quantizeFloat8(q, { out: quantized })
  // @ts-expect-error codes are float8_e4m3
  quantizeFloat8(q, { out: { codes: q, scales: quantized.scales } })
  // @ts-expect-error integers are no numbers to quantize
  quantizeFloat8(index)
}
