/** A name of the file as an error shows it: bounded, on one line. */
export function quoteName(name: string): string {
  const text = name.length > 100 ? `${name.slice(0, 100)}…` : name
  const escape = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return `'${text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, escape)}'`
}

/**
 * Reads the JSON of a safetensors header, value by value, as its caller expects them.
 *
 * Not JSON.parse: that drops all but the last of two equal names, builds whatever a hostile header nests before anything can be checked, and
 * rounds integers beyond 2^53. Here nothing nests deeper than the caller asks, so neither the stack nor memory grows with the input's depth.
 */
export class HeaderReader {
  readonly #text: string
  readonly #refuse: (problem: string) => never
  #at = 0

  constructor(text: string, refuse: (problem: string) => never) {
    this.#text = text
    this.#refuse = refuse
  }

  /** `{ "name": value, … }`; `readValue` must read the value. A name that occurs twice is refused. */
  object(what: string, readValue: (name: string) => void): void {
    this.#take('{', `an object for ${what}`)
    if (this.#tryTake('}')) return
    const seen = new Set<string>()
    do {
      const name = this.string(`a name in ${what}`)
      // A plain object built from such names would get a foreign prototype; no checkpoint has a use for it.
      if (name === '__proto__') this.#refuse(`${what}: expected names of tensors and fields, received '__proto__'`)
      if (seen.has(name)) this.#refuse(`${what}: expected every name once, received ${quoteName(name)} twice`)
      seen.add(name)
      this.#take(':', `':' after ${quoteName(name)}`)
      readValue(name)
    } while (this.#tryTake(','))
    this.#take('}', `',' or '}' in ${what}`)
  }

  /** `[ 1, 2, … ]` of at most `maxLength` non-negative integers. */
  integers(what: string, maxLength: number): number[] {
    this.#take('[', `an array for ${what}`)
    const out: number[] = []
    if (this.#tryTake(']')) return out
    do {
      if (out.length === maxLength) this.#refuse(`${what}: expected at most ${maxLength} integers, received more`)
      out.push(this.#integer(what))
    } while (this.#tryTake(','))
    this.#take(']', `',' or ']' in ${what}`)
    return out
  }

  string(what: string): string {
    this.#take('"', what)
    const begin = this.#at - 1
    for (; ; ++this.#at) {
      const char = this.#text[this.#at]
      if (char === undefined) this.#refuse(`header: expected a closing quote for ${what}, received the end of the header`)
      if (char === '\\') ++this.#at
      else if (char === '"') break
    }
    ++this.#at
    try {
      // Decodes the escapes, and makes a string of its own: a slice would keep the whole header alive.
      return JSON.parse(this.#text.slice(begin, this.#at)) as string
    } catch {
      return this.#refuse(`header: expected ${what} as a JSON string, received an invalid escape or control character at character ${begin}`)
    }
  }

  /** Only white space, with which writers pad the header, may follow. */
  end(): void {
    this.#skipSpace()
    if (this.#at < this.#text.length) this.#refuse(`header: expected its end after the object, received ${this.#here()}`)
  }

  #integer(what: string): number {
    this.#skipSpace()
    let end = this.#at
    while (end < this.#text.length && end - this.#at < 40 && '-+.0123456789eE'.includes(this.#text[end] as string)) ++end
    const digits = this.#text.slice(this.#at, end)
    const value = Number(digits)
    if (!/^(0|[1-9][0-9]*)$/.test(digits) || !Number.isSafeInteger(value)) {
      this.#refuse(`${what}: expected integers from 0 to 2^53 - 1, received ${digits === '' ? this.#here() : digits}`)
    }
    this.#at = end
    return value
  }

  #take(char: string, expected: string): void {
    if (!this.#tryTake(char)) this.#refuse(`header: expected ${expected}, received ${this.#here()}`)
  }

  #tryTake(char: string): boolean {
    this.#skipSpace()
    if (this.#text[this.#at] !== char) return false
    ++this.#at
    return true
  }

  #skipSpace(): void {
    while (this.#at < this.#text.length && ' \t\n\r'.includes(this.#text[this.#at] as string)) ++this.#at
  }

  #here(): string {
    const char = this.#text[this.#at]
    return char === undefined ? 'the end of the header' : `${quoteName(char)} at character ${this.#at}`
  }
}
