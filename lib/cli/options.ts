import { InvalidArgumentError } from 'commander'

// Parsers of option values, for commander: it puts the option's name before what they throw.

export function parseCount(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Expected an integer of at least 1.')
  return value
}

export function parseSeconds(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('Expected a number of seconds above 0.')
  return value
}

export function parseRatio(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN
  if (!Number.isFinite(value) || value <= 0) throw new InvalidArgumentError('Expected a ratio above 0, such as 0.95.')
  return value
}

/** '512,2048' -> [512, 2048], ascending, each once. */
export function parseLengths(text: string): number[] {
  const values = text.split(',').map((part) => {
    try {
      return parseCount(part.trim())
    } catch {
      throw new InvalidArgumentError('Expected lengths of at least 1, separated by commas: 512,2048,8192.')
    }
  })
  return [...new Set(values)].sort((a, b) => a - b)
}

const byteUnits = { '': 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40 } as const

/** '8GiB' -> 8589934592. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text)
  const unit = match?.[2]?.toLowerCase() as keyof typeof byteUnits | undefined
  const value = match && unit !== undefined && unit in byteUnits ? Math.floor(Number(match[1]) * byteUnits[unit]) : NaN
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Expected a size such as 512MiB or 8GiB.')
  return value
}

export function parseLoraRank(text: string): number | null {
  if (text === 'none') return null
  try {
    return parseCount(text)
  } catch {
    throw new InvalidArgumentError("Expected an integer of at least 1, or 'none'.")
  }
}
