// Keys that are rotated on their way into a cache: the same bits as rope and then append, whatever the device does in one step or two.
import { rope, Tensor, type RopeConfig } from '../../lib/index'
import { native } from '../../lib/native'
import { nativeRopeOptions } from '../../lib/ops/rope-config'
import { handleOf } from '../../lib/tensor/tensor'
import { devicesAndDTypes } from '../support/devices'

const configs: readonly RopeConfig[] = [
  { theta: 500000, interleaved: false },
  { theta: 10000, interleaved: true, scaling: { type: 'yarn', factor: 4, originalMaxPositions: 64 } },
]

describe.each(devicesAndDTypes)('ropeAppend on %s in %s', (device, dtype) => {
  const slots = Int32Array.of(13, 2, -1, 7, 19, 0)

  // Rows of whole 16-byte pieces, narrow ones, and the last features of wider rows.
  it.each([[64, 64], [10, 10], [48, 16]])('rows of %d, %d of them rotated', async (width, dim) => {
    for (const config of configs) {
      const src = Tensor.randn([2, 3, 2, width], { seed: width, dtype, device })
      const positions = Tensor.from([0, 1, 2, 100, 101, 5000], [2, 3], { dtype: 'int32', device })
      const pages = () => Tensor.zeros([5, 4, 2, width], { dtype, device })
      const [together, apart] = [pages(), pages()]
      native.ropeAppend(handleOf('src', src), handleOf('pages', together), slots, null, handleOf('positions', positions), ...nativeRopeOptions('config', config, dim))
      native.pagedAppend(handleOf('src', rope(src, config, { positions, dim })), handleOf('pages', apart), slots, null)
      expect(await together.readBits()).toEqual(await apart.readBits())
    }
  })

  it('pages of another dtype, pages that are a part of wider rows, and strided rows', async () => {
    const config = configs[0]!
    const other = dtype === 'float32' ? 'float16' : 'float32'
    const src = Tensor.randn([2, 2, 3, 16], { seed: 3, dtype, device }).transpose(1, 2)
    for (const pagesOf of [() => Tensor.zeros([5, 4, 2, 16], { dtype: other, device }), () => Tensor.zeros([5, 4, 2, 40], { dtype, device }).slice(3, 24, 40)]) {
      const [together, apart] = [pagesOf(), pagesOf()]
      native.ropeAppend(handleOf('src', src), handleOf('pages', together), slots, null, null, ...nativeRopeOptions('config', config, 16))
      native.pagedAppend(handleOf('src', rope(src, config)), handleOf('pages', apart), slots, null)
      expect(await together.contiguous().readBits()).toEqual(await apart.contiguous().readBits())
    }
  })

  it('refuses what append refuses, and writes nothing', async () => {
    const [src, pages] = [Tensor.randn([1, 1, 2, 8], { seed: 1, dtype, device }), Tensor.zeros([2, 4, 2, 8], { dtype, device })]
    const call = (at: Int32Array, dim = 8) => () => {
      native.ropeAppend(handleOf('src', src), handleOf('pages', pages), at, null, null, ...nativeRopeOptions('config', configs[0]!, dim))
    }
    expect(call(Int32Array.of(8))).toThrow('slots[0]: expected a number from -1 to 7, received 8')
    expect(call(Int32Array.of(0, 1))).toThrow('slots: expected 1 items (batch · newLen), received 2')
    expect(call(Int32Array.of(0), 10)).toThrow('dim: expected an even number from 2 to the width of x (8), received 10')
    expect((await pages.read()).every((value) => value === 0)).toBe(true)
  })
})
