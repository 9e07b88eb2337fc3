import { checkOneOf, fail } from '../check'
import { ArgumentError } from '../errors'
import { shapeText, type Shape } from '../tensor/shape'
import { blockScalesOf } from './block-scales'
import { loadableDTypes, tensorDType } from './safetensors-dtype'
import { SafetensorsFile } from './safetensors-file'

/** One tensor of the file, and how many of its rows each group (head) of the fused weight takes. */
export interface PlannedPart {
  readonly name: string
  readonly shape: Shape
  readonly rowsPerGroup: number
  /** Name of its fp8 block scales. */
  readonly scales: string | undefined
}
/** One weight of the module: the parts' rows, group by group. */
export interface PlannedWeight<K extends string> {
  readonly target: K
  readonly parts: readonly [PlannedPart, ...PlannedPart[]]
  readonly groups: number
  readonly shape: Shape
}

/**
 * What to read for one layer. Every name and shape is checked against the header while the plan is made, so that a wrong prefix or
 * configuration fails before the first byte of weights is read. `K` are the fields of the module's weights.
 */
export class LayerPlan<K extends string> {
  readonly file: SafetensorsFile
  readonly weights: PlannedWeight<K>[] = []
  readonly #prefix: string

  constructor(file: SafetensorsFile, prefix: string) {
    if (!(file instanceof SafetensorsFile)) fail('file', 'a SafetensorsFile', file)
    if (typeof prefix !== 'string') fail('prefix', "the layer's name in the checkpoint, as 'model.layers.0.self_attn'", prefix)
    this.file = file
    this.#prefix = prefix === '' || prefix.endsWith('.') ? prefix : `${prefix}.`
  }

  nameOf(name: string): string {
    return this.#prefix + name
  }

  has(name: string): boolean {
    return this.file.has(this.nameOf(name))
  }

  /** The shape of a tensor with as many dims as `dims`, which name them in the message when it is missing or has another rank. */
  shapeOf(name: string, ...dims: readonly string[]): Shape {
    const full = this.nameOf(name)
    const expected = `[${dims.join(', ')}]`
    const { shape } = this.#info(full, expected)
    if (shape.length !== dims.length || shape.includes(0)) throw mismatch(full, expected, shape)
    return shape
  }

  /** `<stem>.weight` for each stem, of [groups * rows[i], cols], fused to [groups * sum(rows), cols]. */
  matrix(target: K, stems: readonly string[], rows: readonly number[], groups: number, cols: number): void {
    this.#add(target, stems.map((stem) => `${stem}.weight`), rows, groups, [cols])
  }

  /** `<stem>.bias` of [rows[i]] each, one after the other. Absent is fine; some but not all is not. */
  optionalBias(target: K, stems: readonly string[], rows: readonly number[]): void {
    const names = stems.map((stem) => `${stem}.bias`)
    if (names.some((name) => this.has(name))) this.#add(target, names, rows, 1, [])
  }

  /** A vector such as the weight of a norm: [length]. */
  vector(target: K, name: string, length: number): void {
    this.#add(target, [name], [length], 1, [])
  }

  /** Throws for a file that holds one of `names`: a weight that `naming` would silently drop. */
  refuse(naming: string, names: readonly string[]): void {
    for (const name of names) {
      if (!this.has(name)) continue
      throw new ArgumentError('options.naming', `one that has a place for '${this.nameOf(name)}'`, `'${naming}'`, 'UNSUPPORTED')
    }
  }

  #add(target: K, names: readonly string[], rows: readonly number[], groups: number, width: readonly number[]): void {
    const [first, ...rest] = names.map((name, i) => this.#part(this.nameOf(name), rows[i] ?? 0, [groups * (rows[i] ?? 0), ...width]))
    if (first === undefined) return
    const total = rows.reduce((sum, count) => sum + count, 0)
    this.weights.push({ target, parts: [first, ...rest], groups, shape: [groups * total, ...width] })
  }

  #info(name: string, expected: string): ReturnType<SafetensorsFile['info']> {
    if (!this.file.has(name)) throw new ArgumentError(name, `a tensor ${expected} in ${this.file.path}`, 'none of that name')
    return this.file.info(name)
  }

  #part(name: string, rowsPerGroup: number, shape: Shape): PlannedPart {
    const expected = shapeText(shape)
    const stored = this.#info(name, expected)
    if (shapeText(stored.shape) !== expected) throw mismatch(name, expected, stored.shape)
    if (tensorDType(stored.dtype) === undefined) throw new ArgumentError(name, loadableDTypes, stored.dtype, 'UNSUPPORTED')
    return { name, shape, rowsPerGroup, scales: shape.length === 2 ? blockScalesOf(this.file, name, shape) : undefined }
  }
}

function mismatch(name: string, expected: string, received: Shape): ArgumentError {
  return new ArgumentError(name, `shape ${expected}`, shapeText(received), 'SHAPE_MISMATCH')
}

export function checkNaming<N extends string>(value: unknown, namings: Readonly<Record<N, unknown>>): N {
  return checkOneOf('options.naming', value, Object.keys(namings) as N[])
}
