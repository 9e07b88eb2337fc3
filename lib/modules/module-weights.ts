import { checkOptions, fail } from '../check'
import type { DeviceId } from '../devices'
import { ArgumentError } from '../errors'
import { checkTensor, type FloatTensor } from '../tensor/tensor'

/** What a module expects of one weight. */
export interface WeightSpec {
  readonly shape: readonly number[]
  /** Names of the dims, for messages. */
  readonly dims: string
  /** Why the weight must be there, or why it must not; optional when absent. */
  readonly required?: string
  readonly refused?: string
}

/** The weights of a module: checked once, and held by views of its own, so that the caller may dispose the tensors given. */
export class ModuleWeights<K extends string> {
  readonly device: DeviceId
  readonly #kind: string
  readonly #tensors = new Map<K, FloatTensor>()
  #disposed = false

  constructor(kind: string, weights: unknown, specs: Readonly<Record<K, WeightSpec>>) {
    this.#kind = kind
    const names = Object.keys(specs) as K[]
    if (typeof weights !== 'object' || weights === null) fail('weights', 'an object of tensors', weights)
    const given = checkOptions<Record<K, unknown>>('weights', weights as Record<K, unknown>, names)
    const checked = names.flatMap((name) => {
      const tensor = checkWeight(`weights.${name}`, given[name], specs[name])
      return tensor === undefined ? [] : [{ name, tensor }]
    })
    const first = checked[0]!
    this.device = first.tensor.device
    for (const { name, tensor } of checked) {
      if (tensor.device === this.device) continue
      throw new ArgumentError(`weights.${name}`, `the device of weights.${first.name} (${this.device})`, tensor.device)
    }
    for (const { name, tensor } of checked) this.#tensors.set(name, tensor.slice(0, 0, tensor.shape[0]!))
  }

  get(name: K): FloatTensor {
    return this.#tensors.get(name)!
  }

  find(name: K): FloatTensor | undefined {
    return this.#tensors.get(name)
  }

  checkLive(): void {
    if (this.#disposed) throw new ArgumentError('this', `a live ${this.#kind}`, 'a disposed one', 'DISPOSED')
  }

  dispose(): void {
    this.#disposed = true
    for (const tensor of this.#tensors.values()) tensor.dispose()
  }
}

function checkWeight(argument: string, value: unknown, { shape, dims, required, refused }: WeightSpec): FloatTensor | undefined {
  if (value === undefined) {
    if (required !== undefined) throw new ArgumentError(argument, `a tensor ${dims}${required}`, 'undefined')
    return undefined
  }
  if (refused !== undefined) throw new ArgumentError(argument, `no tensor${refused}`, 'a tensor')
  const tensor = checkTensor(argument, value)
  if (tensor.shape.length !== shape.length || tensor.shape.some((extent, axis) => extent !== shape[axis])) {
    throw new ArgumentError(argument, `shape ${dims} = [${shape.join(', ')}]`, `[${tensor.shape.join(', ')}]`, 'SHAPE_MISMATCH')
  }
  if (tensor.dtype === 'int32' || tensor.dtype === 'float8_e4m3') {
    throw new ArgumentError(argument, 'dtype float32, float16 or bfloat16', tensor.dtype)
  }
  return tensor as FloatTensor
}
