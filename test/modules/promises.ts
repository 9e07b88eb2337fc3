/** What both modules promise alike: the tests of each ask it of their own layers. */
import { devices, Tensor, type AttentionWeights, type DeviceId, type MlaWeights } from '../../lib/index'
import { disposeLater } from '../support/disposal'
import { settledMemory } from '../support/memory'
import type { Cache, Layer } from './feeding'
import { activations, type LayerOptions } from './layers'

type Weights = AttentionWeights | MlaWeights

/** Of a layer of hidden size 32, as the others here. */
export function expectForkGoesOnAsOriginal<C extends Cache>(layer: Layer<C>, options: LayerOptions): void {
  const x = activations(1, 9, 32, options)
  using cache = layer.createCache({ numPages: 16, pageSize: 4 })
  using prompt = x.tensor.slice(1, 0, 6)
  using next = x.tensor.slice(1, 6, 9)
  const sequence = cache.open()
  disposeLater(layer.forward(prompt, { cache, sequences: [sequence] }))
  const fork = sequence.fork()
  using a = layer.forward(next, { cache, sequences: [sequence] })
  using b = layer.forward(next, { cache, sequences: [fork] })
  expect(b.readSync()).toEqual(a.readSync())
}

export function expectAnswersToNothing<C extends Cache>(layer: Layer<C>, device: DeviceId): void {
  using cache = layer.createCache({ numPages: 1, pageSize: 4 })
  const shapes = [[0, 3, 32], [2, 0, 32]].map((shape) => {
    using x = Tensor.zeros(shape, { device })
    const sequences = Array.from({ length: shape[0]! }, () => cache.open())
    return [disposeLater(layer.forward(x)).shape, disposeLater(layer.forward(x, { cache, sequences })).shape]
  })
  expect(shapes).toEqual([[[0, 3, 32], [0, 3, 32]], [[2, 0, 32], [2, 0, 32]]])
}

export async function expectNothingLeftButOutput<C extends Cache>(layer: Layer<C>, weights: Weights, options: LayerOptions): Promise<void> {
  const x = activations(2, 19, 32, options)
  using cache = layer.createCache({ numPages: 32, pageSize: 4 })
  using first = layer.forward(x.tensor, { cache, sequences: [cache.open(), cache.open()] })
  for (const tensor of Object.values(weights)) tensor.dispose()
  const { tensors, bytes } = await settledMemory(options.device)
  const second = layer.forward(x.tensor, { cache, sequences: [cache.open(), cache.open()] })
  const uncached = layer.forward(x.tensor)
  expect(second.readSync()).toEqual(first.readSync())
  second.dispose()
  uncached.dispose()
  await devices.synchronize(options.device)
  expect(devices.memory(options.device)).toMatchObject({ tensors, bytes })
}

export async function expectWeightsFreed(make: () => { readonly layer: { dispose(): void }; readonly tensors: Weights }, device: DeviceId): Promise<void> {
  const { tensors, bytes } = await settledMemory(device)
  const { layer, tensors: weights } = make()
  layer.dispose()
  layer.dispose()
  for (const tensor of Object.values(weights)) tensor.dispose()
  await devices.synchronize(device)
  expect(devices.memory(device)).toMatchObject({ tensors, bytes })
}
