import type { FloatDType } from '../tensor/dtype'

/** Bits per element of every dtype of the format, by the name that the header uses. */
const bitsPerElement: ReadonlyMap<string, number> = new Map([
  ['BOOL', 8], ['F4', 4], ['F6_E2M3', 6], ['F6_E3M2', 6], ['U8', 8], ['I8', 8], ['F8_E5M2', 8], ['F8_E4M3', 8], ['F8_E8M0', 8],
  ['I16', 16], ['U16', 16], ['F16', 16], ['BF16', 16], ['I32', 32], ['U32', 32], ['F32', 32], ['C64', 64], ['F64', 64], ['I64', 64], ['U64', 64],
])

const loadable: ReadonlyMap<string, FloatDType> = new Map([
  ['F32', 'float32'], ['F16', 'float16'], ['BF16', 'bfloat16'], ['F8_E4M3', 'float8_e4m3'],
] as const)

export const knownDTypes = [...bitsPerElement.keys()].join(', ')
export const loadableDTypes = 'dtype F32, F16, BF16 or F8_E4M3'

/** undefined: not a dtype of the format. */
export function elementBits(dtype: string): number | undefined {
  return bitsPerElement.get(dtype)
}

/** The dtype of the tensor that it loads as; undefined: listed by info(), but no tensor holds it. */
export function tensorDType(dtype: string): FloatDType | undefined {
  return loadable.get(dtype)
}
