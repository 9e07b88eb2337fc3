import { ArgumentError } from './errors'

/** A value as an error message shows it: short, and safe for any value. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return value.length > 40 ? `'${value.slice(0, 40)}…'` : `'${value}'`
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol') return 'a symbol'
  if (value === null || typeof value !== 'object') return Object.is(value, -0) ? '-0' : String(value)
  if (Array.isArray(value)) {
    const shown = value.slice(0, 8).map((item: unknown) => (typeof item === 'object' && item !== null ? '…' : describeValue(item)))
    return `[${shown.join(', ')}${value.length > 8 ? `, … ${value.length} items` : ''}]`
  }
  const name: unknown = (Object.getPrototypeOf(value) as { constructor?: { name?: unknown } } | null)?.constructor?.name
  return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object'
}

export function fail(argument: string, expected: string, received: unknown): never {
  throw new ArgumentError(argument, expected, describeValue(received))
}

/** The options as an object whose every key is in `keys`; undefined gives {}. */
export function checkOptions<T extends object>(argument: string, options: T | undefined, keys: readonly (keyof T & string)[]): Partial<T> {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null || Array.isArray(options)) fail(argument, 'an options object', options)
  for (const key of Object.keys(options)) {
    if (!(keys as readonly string[]).includes(key)) {
      throw new ArgumentError(argument, `options among ${keys.join(', ')}`, `unknown option '${key.slice(0, 40)}'`)
    }
  }
  return options
}

export function checkInteger(argument: string, value: unknown, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `an integer of at least ${min}` : `an integer from ${min} to ${max}`
    fail(argument, range, value)
  }
  return value
}

export function checkFinite(argument: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) fail(argument, 'a finite number', value)
  return value
}

export function checkPositive(argument: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) fail(argument, 'a finite number above 0', value)
  return value
}

export function checkBoolean(argument: string, value: unknown): boolean {
  if (typeof value !== 'boolean') fail(argument, 'true or false', value)
  return value
}

export function checkOneOf<T extends string>(argument: string, value: unknown, allowed: readonly T[]): T {
  if (!(allowed as readonly unknown[]).includes(value)) fail(argument, allowed.map((item) => `'${item}'`).join(' or '), value)
  return value as T
}

/** More than any batch has sequences, or any append rows; an object can claim any length. */
const mostIntegers = 2 ** 24

/** int32 numbers from an array or typed array, copied: every item an integer from `min` to `max`. */
export function checkIntegers(argument: string, values: unknown, min: number, max: number, length?: number): Int32Array {
  const list = values as ArrayLike<unknown> | null | undefined
  if (typeof list !== 'object' || list === null || !Number.isInteger(list.length) || list.length < 0) fail(argument, 'an array of integers', values)
  if (length !== undefined && list.length !== length) throw new ArgumentError(argument, `${length} integers`, `${list.length}`)
  if (list.length > mostIntegers) throw new ArgumentError(argument, `at most ${mostIntegers} integers`, `${list.length}`)
  const out = new Int32Array(list.length)
  for (let i = 0; i < list.length; ++i) out[i] = checkItem(argument, i, list[i], min, max)
  return out
}

/** The same without a copy where it is an Int32Array already: for the addon, which copies at once, and whose core checks its copy. */
export function checkHostIntegers(argument: string, values: unknown, min: number, max: number): Int32Array {
  if (!ArrayBuffer.isView(values) || Object.prototype.toString.call(values) !== '[object Int32Array]') return checkIntegers(argument, values, min, max)
  const list = values as Int32Array
  for (let i = 0; i < list.length; ++i) checkItem(argument, i, list[i], min, max)
  return list
}

/** The name of an item is made only where it is wrong: batches are long. */
function checkItem(argument: string, i: number, value: unknown, min: number, max: number): number {
  return typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : checkInteger(`${argument}[${i}]`, value, min, max)
}
