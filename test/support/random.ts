// Taken out once: inside jest's sandbox every use of a global costs as much as a hundred multiplications.
const { cos, floor, log, sqrt } = Math

/** Seeded random numbers (xorshift128 by Marsaglia, 2003): the same cases in every run and on every machine. */
export class Random {
  private a: number
  private b: number
  private c = 0xc2b2ae35 | 0
  private d = 0x27d4eb2f

  constructor(seed: number) {
    this.a = seed ^ 0x9e3779b9
    this.b = (seed + 0x85ebca6b) | 0
    for (let i = 0; i < 16; ++i) this.bits()
  }

  /** 32 random bits. */
  bits(): number {
    let t = this.d
    this.d = this.c
    this.c = this.b
    this.b = this.a
    t ^= t << 11
    t ^= t >>> 8
    this.a = t ^ this.a ^ (this.a >>> 19)
    return this.a >>> 0
  }

  /** From 0 to below 1. */
  uniform(): number {
    return this.bits() / 2 ** 32
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return min + floor(this.uniform() * (max - min + 1))
  }

  normal(): number {
    return sqrt(-2 * log(1 - this.uniform())) * cos(2 * Math.PI * this.uniform())
  }

  normals(count: number, deviation = 1): Float64Array {
    const values = new Float64Array(count)
    for (let i = 0; i < count; ++i) values[i] = deviation * this.normal()
    return values
  }

  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items]
    for (let i = shuffled.length - 1; i > 0; --i) {
      const j = this.integer(0, i)
      ;[shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!]
    }
    return shuffled
  }
}
