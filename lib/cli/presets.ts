import type { MlaConfig } from '../modules/config'

/** What a published attention layer is made of, with the names of its checkpoint's configuration. */
export interface GroupedShape {
  readonly kind: 'grouped'
  readonly hiddenSize: number
  readonly numHeads: number
  readonly numKvHeads: number
  readonly headDim: number
}
export interface LatentShape
  extends Pick<MlaConfig, 'hiddenSize' | 'numHeads' | 'qLoraRank' | 'kvLoraRank' | 'qkNopeHeadDim' | 'qkRopeHeadDim' | 'vHeadDim'> {
  readonly kind: 'latent'
}
export type LayerShape = GroupedShape | LatentShape

export interface Preset {
  /** As people call the model. */
  readonly title: string
  readonly layers: number
  /** The shapes that were published; a mechanism without one is derived from the first (see triple.ts). */
  readonly published: readonly [LayerShape, ...LayerShape[]]
  readonly source: string
}

function grouped(hiddenSize: number, numHeads: number, numKvHeads: number, headDim: number): GroupedShape {
  return { kind: 'grouped', hiddenSize, numHeads, numKvHeads, headDim }
}

/** DeepSeek's own dims: 512 latent features, heads of 128 + 64 for queries and keys and of 128 for values. */
function deepSeek(hiddenSize: number, numHeads: number, qLoraRank: number | null): LatentShape {
  return { kind: 'latent', hiddenSize, numHeads, qLoraRank, kvLoraRank: 512, qkNopeHeadDim: 128, qkRopeHeadDim: 64, vHeadDim: 128 }
}

/** Layer shapes from the models' published configurations. */
export const presets = {
  'llama-2-7b': { title: 'Llama 2 7B', layers: 32, published: [grouped(4096, 32, 32, 128)], source: 'config.json of Llama-2-7b' },
  'llama-3-8b': { title: 'Llama 3 8B', layers: 32, published: [grouped(4096, 32, 8, 128)], source: 'config.json of Meta-Llama-3-8B' },
  'llama-3-70b': { title: 'Llama 3 70B', layers: 80, published: [grouped(8192, 64, 8, 128)], source: 'config.json of Meta-Llama-3-70B' },
  'mistral-7b': { title: 'Mistral 7B v0.3', layers: 32, published: [grouped(4096, 32, 8, 128)], source: 'config.json of Mistral-7B-v0.3' },
  'qwen3-8b': { title: 'Qwen3 8B', layers: 36, published: [grouped(4096, 32, 8, 128)], source: 'config.json of Qwen3-8B' },
  'gemma-2-9b': { title: 'Gemma 2 9B (its global layers)', layers: 42, published: [grouped(3584, 16, 8, 256)], source: 'config.json of gemma-2-9b' },
  'deepseek-v2-lite': { title: 'DeepSeek-V2-Lite', layers: 27, published: [deepSeek(2048, 16, null)], source: 'config.json of DeepSeek-V2-Lite' },
  'deepseek-v2': { title: 'DeepSeek-V2', layers: 60, published: [deepSeek(5120, 128, 1536)], source: 'config.json of DeepSeek-V2' },
  'deepseek-v3': { title: 'DeepSeek-V3', layers: 61, published: [deepSeek(7168, 128, 1536)], source: 'config.json of DeepSeek-V3' },
  study: {
    title: 'the comparison study',
    layers: 4,
    published: [
      { kind: 'latent', hiddenSize: 1024, numHeads: 46, qLoraRank: 384, kvLoraRank: 128, qkNopeHeadDim: 32, qkRopeHeadDim: 64, vHeadDim: 32 },
      grouped(1024, 16, 16, 64),
    ],
    source: 'the demonstration sizes of its two modules',
  },
} as const satisfies Record<string, Preset>

export type PresetName = keyof typeof presets
export const presetNames = Object.keys(presets) as readonly PresetName[]
export const defaultPreset: PresetName = 'llama-3-8b'
