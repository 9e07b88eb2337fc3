/** How a family of checkpoints names the weights of an attention layer, relative to the layer's prefix. */
export interface AttentionNames {
  /** Projections: `<name>.weight` [outFeatures, inFeatures] and, where the checkpoint has it, `<name>.bias` [outFeatures]. */
  readonly q: string
  readonly k: string
  readonly v: string
  readonly o: string
  /** RMSNorm weights [headDim] of the query and key heads; both or neither. */
  readonly qNorm?: string
  readonly kNorm?: string
  /** Weights that would change the result and have no place in this naming: a file that holds one is refused. */
  readonly refused: readonly string[]
}

const projections = { q: 'q_proj', k: 'k_proj', v: 'v_proj', o: 'o_proj' } as const

export const attentionNamings = {
  /** Llama, Mistral, Qwen2 and what follows them. */
  llama: { ...projections, refused: ['q_norm.weight', 'k_norm.weight', 'sinks'] },
  qwen3: { ...projections, qNorm: 'q_norm.weight', kNorm: 'k_norm.weight', refused: ['sinks'] },
  /** The comparison study's Attention. */
  separate: { q: 'query', k: 'key', v: 'value', o: 'proj', refused: [] },
} as const satisfies Readonly<Record<string, AttentionNames>>

export type AttentionNaming = keyof typeof attentionNamings
