/** Exact rounding of float64 to the element types and back, from the definition of the formats: shares nothing with the addon. */

// Taken out once: inside jest's sandbox every use of a global costs as much as a hundred multiplications.
const { abs, fround, floor } = Math
const { isFinite, isNaN } = Number

export type RoundedDType = 'float32' | 'float16' | 'bfloat16' | 'float8_e4m3'

interface Format {
  /** Bits of the mantissa that are stored. */
  readonly mantissaBits: number
  /** Exponent of the smallest normal number. */
  readonly minExponent: number
  readonly max: number
  /** What a magnitude that rounds above `max` becomes: e4m3 has no infinity. */
  readonly overflow: number
}
const formats: Readonly<Record<Exclude<RoundedDType, 'float32'>, Format>> = {
  float16: { mantissaBits: 10, minExponent: -14, max: 65504, overflow: Infinity },
  bfloat16: { mantissaBits: 7, minExponent: -126, max: (2 - 2 ** -7) * 2 ** 127, overflow: Infinity },
  float8_e4m3: { mantissaBits: 3, minExponent: -6, max: 448, overflow: NaN },
}

const float64 = new Float64Array(1)
const float64Words = new Uint32Array(float64.buffer)
const float32 = new Float32Array(1)
const float32Word = new Uint32Array(float32.buffer)

/** floor(log2(|value|)) of a finite value, -1023 for zero and subnormals, 1024 for NaN and infinities. */
function exponentOf(value: number): number {
  float64[0] = value
  return ((float64Words[1]! >>> 20) & 0x7ff) - 1023
}

/**
 * For each exponent of a value the number that is 1.5 · 2^52 units of the value's last place in the format: adding it in float64 pushes all
 * bits below that place out, rounding to nearest even, and subtracting it again leaves the rounded value. One rounding, straight from float64.
 */
function shiftersOf({ mantissaBits, minExponent }: Format): Float64Array {
  return Float64Array.from({ length: 2048 }, (_, n) => 1.5 * 2 ** (52 + Math.max(n - 1023, minExponent) - mantissaBits))
}

const shifters = {
  float16: shiftersOf(formats.float16), bfloat16: shiftersOf(formats.bfloat16), float8_e4m3: shiftersOf(formats.float8_e4m3),
}

/** The number of `dtype` nearest to `value`, ties to the even mantissa. */
export function roundTo(dtype: RoundedDType, value: number): number {
  if (dtype === 'float32') return fround(value)
  const { max, overflow } = formats[dtype]
  if (!(abs(value) <= 2 * max)) return isNaN(value) ? NaN : value > 0 ? overflow : -overflow
  const shifter = shifters[dtype][exponentOf(value) + 1023]!
  const rounded = value + shifter - shifter
  if (abs(rounded) > max) return value > 0 ? overflow : -overflow
  return rounded === 0 && (value < 0 || Object.is(value, -0)) ? -0 : rounded
}

export function roundAll(dtype: RoundedDType, values: ArrayLike<number>): Float64Array {
  const rounded = new Float64Array(values.length)
  for (let i = 0; i < values.length; ++i) rounded[i] = roundTo(dtype, values[i]!)
  return rounded
}

/** The bits of a value that `dtype` holds exactly. */
export function bitsOf(dtype: RoundedDType, value: number): number {
  if (dtype === 'float32') {
    float32[0] = value
    return float32Word[0]!
  }
  const { mantissaBits, minExponent } = formats[dtype]
  const exponentBits = { float16: 5, bfloat16: 8, float8_e4m3: 4 }[dtype]
  const sign = (value < 0 || Object.is(value, -0) ? 1 : 0) * 2 ** (mantissaBits + exponentBits)
  const topExponent = (2 ** exponentBits - 1) * 2 ** mantissaBits
  if (isNaN(value)) return topExponent + (dtype === 'float8_e4m3' ? 7 : 2 ** (mantissaBits - 1))
  if (!isFinite(value)) return sign + topExponent
  const exponent = exponentOf(value)
  const magnitude = abs(value)
  if (exponent < minExponent) return sign + magnitude / 2 ** (minExponent - mantissaBits)
  return sign + (exponent - minExponent + 1) * 2 ** mantissaBits + (magnitude / 2 ** exponent - 1) * 2 ** mantissaBits
}

/** The number that the bits of `dtype` stand for. */
export function valueOf(dtype: RoundedDType, bits: number): number {
  if (dtype === 'float32') {
    float32Word[0] = bits
    return float32[0]!
  }
  const { mantissaBits, minExponent } = formats[dtype]
  const exponentBits = { float16: 5, bfloat16: 8, float8_e4m3: 4 }[dtype]
  const negative = bits >= 2 ** (mantissaBits + exponentBits)
  const field = floor(bits / 2 ** mantissaBits) % 2 ** exponentBits
  const mantissa = bits % 2 ** mantissaBits
  const sign = negative ? -1 : 1
  const top = field === 2 ** exponentBits - 1
  if (dtype === 'float8_e4m3' ? top && mantissa === 7 : top && mantissa !== 0) return NaN
  if (dtype !== 'float8_e4m3' && top) return sign * Infinity
  if (field === 0) return sign * mantissa * 2 ** (minExponent - mantissaBits)
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (field - 1 + minExponent)
}
