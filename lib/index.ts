/**
 * Flash-style attention for Node.js: MHA, GQA, MQA and DeepSeek's MLA, exact and tile by tile, with paged caches, modules and
 * checkpoint weights.
 *
 * Execution model, the same on every device: an op checks its arguments and allocates its outputs at once (argument errors are
 * thrown synchronously and leave nothing behind), then enqueues the work on the device's in-order queue and returns. The event
 * loop never blocks on compute. `await tensor.read()` waits for what it needs.
 *
 * @packageDocumentation
 */
export { devices } from './devices'
export type { DeviceId, DeviceInfo, DeviceMemory, DeviceType } from './devices'
export { kernels } from './kernels'
export type { KernelInfo } from './kernels'
export { ArgumentError, AttentionError, DeviceError, FileError, ResourceError, UnsupportedError } from './errors'
export type { ErrorCode } from './errors'

export { Tensor } from './tensor/tensor'
export type { FloatTensor, IndexTensor } from './tensor/tensor'
export type { TensorOptions } from './tensor/tensor-arguments'
export type { ComputeDType, DType, DTypeMap, FloatDType } from './tensor/dtype'
export type { Shape } from './tensor/shape'

export { flashAttention } from './ops/flash-attention'
export type { FlashAttentionOptions } from './ops/flash-attention'
export { flashAttentionVarlen } from './ops/flash-attention-varlen'
export type { FlashAttentionVarlenOptions } from './ops/flash-attention-varlen'
export { mergeStates } from './ops/merge-states'
export type { AttentionState } from './ops/merge-states'
export { quantizeFloat8 } from './ops/quantize-float8'
export type { QuantizedTensor, QuantizeFloat8Options } from './ops/quantize-float8'
export type { AttentionOptions, AttentionResult, KvScales } from './ops/options'
export { pagedAttention } from './ops/paged-attention'
export type { PagedAttention } from './ops/paged-attention'
export { mlaDecode } from './ops/mla-decode'
export type { MlaDecode, MlaDecodeOptions } from './ops/mla-decode'
export type { AttentionPlan } from './ops/attention-plan'
export { rope } from './ops/rope'
export type { RopeOptions } from './ops/rope'
export type { RopeConfig, RopeScaling } from './ops/rope-config'
export { rmsNorm } from './ops/rms-norm'
export type { RmsNormOptions } from './ops/rms-norm'
export { linear } from './ops/linear'
export type { LinearOptions } from './ops/linear'

export { PagedKvCache } from './cache/paged-kv-cache'
export type { PagedKvCacheOptions } from './cache/paged-kv-cache'
export { MlaKvCache } from './cache/mla-kv-cache'
export type { MlaKvCacheOptions } from './cache/mla-kv-cache'
export type { Sequence } from './cache/sequence'
export type { PageBatch } from './cache/page-batch'
export type { PagedCacheStats } from './cache/paged-cache'

export { GroupedQueryAttention } from './modules/grouped-query-attention'
export { MultiHeadLatentAttention } from './modules/multi-head-latent-attention'
export type {
  AttentionConfig, AttentionWeights, ForwardOptions, MlaConfig, MlaWeights, ResolvedAttentionConfig, ResolvedMlaConfig,
} from './modules/config'
export type { MlaForm } from './modules/mla-form'

export { SafetensorsFile } from './weights/safetensors-file'
export type { HostTensor } from './weights/host-tensor'
export type { LoadOptions } from './weights/host-tensor'
export { loadAttentionWeights } from './weights/load-attention-weights'
export type { LoadAttentionOptions } from './weights/load-attention-weights'
export { loadMlaWeights } from './weights/load-mla-weights'
export type { LoadMlaOptions } from './weights/load-mla-weights'
export { layerCosts } from './costs'
export type { LayerCosts } from './costs'
