import { ArgumentError } from '../errors'

/** Of a row in float8_e4m3: 512 elements, four float32 scales, 64 bfloat16 (native/core/latent_rows.h). */
const bytesOfRow = 656

/** Elements of an MLA cache's row; of one in float8_e4m3 its bytes. Throws for features that such rows do not hold. Needs no addon. */
export function latentRowWidth(argument: string, kvLoraRank: number, qkRopeHeadDim: number, dtype: unknown): number {
  if (dtype !== 'float8_e4m3') return kvLoraRank + qkRopeHeadDim
  if (kvLoraRank === 512 && qkRopeHeadDim === 64) return bytesOfRow
  const expected = "kvLoraRank 512 and qkRopeHeadDim 64 where dtype is 'float8_e4m3'"
  throw new ArgumentError(argument, expected, `kvLoraRank ${kvLoraRank} and qkRopeHeadDim ${qkRopeHeadDim}`, 'UNSUPPORTED')
}
