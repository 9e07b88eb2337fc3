/**
 * How a family of checkpoints names the weights of an MLA layer, relative to the layer's prefix. Projections are `<name>.weight` and,
 * where allowed, `<name>.bias`. Where the module has one matrix and the checkpoint two, both are listed in the module's row order.
 */
export interface MlaNames {
  readonly qA: string
  /** [qLoraRank] */
  readonly qANorm: string
  /** Rows per head: nope, rope. */
  readonly qB: readonly string[]
  /** Takes qB's place where queries are not compressed; null: the family always compresses. */
  readonly qDirect: readonly string[] | null
  /** Rows: latent, rope key. */
  readonly kvA: readonly string[]
  /** [kvLoraRank] */
  readonly kvANorm: string
  /** Rows per head: key nope, value. */
  readonly kvB: readonly string[]
  readonly o: string
  /** Weights that would change the result and have no place in the module: a file that holds one is refused. */
  readonly refused: readonly string[]
}

export const mlaNamings = {
  /** DeepSeek-V2, V2-Lite, V3, R1 and Kimi-K2 as published. Their rotation is interleaved: `rope: { interleaved: true }`. */
  deepseek: {
    qA: 'q_a_proj',
    qANorm: 'q_a_layernorm.weight',
    qB: ['q_b_proj'],
    qDirect: ['q_proj'],
    kvA: ['kv_a_proj_with_mqa'],
    kvANorm: 'kv_a_layernorm.weight',
    kvB: ['kv_b_proj'],
    o: 'o_proj',
    // The indexer of V3.2 selects the keys: without it, long contexts give other results.
    refused: ['q_proj.bias', 'q_b_proj.bias', 'kv_b_proj.bias', 'indexer.wq_b.weight'],
  },
  /** The comparison study's MultiHeadLatentAttention: interleaved too, with keyRopeScale 1 / numHeads. */
  separate: {
    qA: 'compress_q_linear',
    qANorm: 'q_norm.weight',
    qB: ['decompress_q_nope', 'decompress_q_rope'],
    qDirect: null,
    kvA: ['compress_kv_linear', 'k_rope_linear'],
    kvANorm: 'kv_norm.weight',
    kvB: ['decompress_k_nope', 'decompress_v_linear'],
    o: 'proj',
    refused: ['decompress_q_nope.bias', 'decompress_q_rope.bias', 'decompress_k_nope.bias', 'decompress_v_linear.bias'],
  },
} as const satisfies Readonly<Record<string, MlaNames>>

export type MlaNaming = keyof typeof mlaNamings
