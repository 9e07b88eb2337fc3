import { Tensor } from '../../lib/index'

/** Values that are no tensor, however much some look like one, and the words that an error has for them. */
export function foreignTensors(): readonly (readonly [title: string, value: unknown, words: string])[] {
  const real = Tensor.zeros([1, 2, 2, 4])
  return [
    ['undefined', undefined, 'undefined'],
    ['null', null, 'null'],
    ['a number', 7, '7'],
    ['a typed array', new Float32Array(16), 'a Float32Array'],
    ['a plain object of the same fields', { shape: real.shape, dtype: 'float32', strides: real.strides, device: 'cpu', size: 16, disposed: false }, 'an object'],
    ['an object with the prototype', Object.create(Tensor.prototype), 'a Tensor'],
    ['a proxy of a tensor', new Proxy(real, {}), 'a Tensor'],
    ['an object that inherits from a tensor', Object.create(real), 'a Tensor'],
    ['the class itself', Tensor, 'a function'],
  ]
}
