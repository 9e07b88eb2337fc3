import { mlaDecode, type FloatTensor } from '../../lib/index'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes, testDevices } from '../support/devices'
import { baseMlaCase, checkMla, storeMla } from '../support/mla-decode'
import { tensorOf } from '../support/tensors'

describe.each(devicesAndDTypes)('mlaDecode on %s in %s', (device, dtype) => {
  it.each([1, 2, 16, 64, 256])('page size %d', (pageSize) => {
    checkMla({ pageSize }, dtype, device)
    checkMla({ pageSize, qoLen: 3 }, dtype, device)
    checkMla({ pageSize, qoLen: 3 }, dtype, device, false)
  })

  it.each([[[0]], [[20, 0, 140]], [[63, 64, 65]], [[1200, 17]]])('kvLens %j', (kvLens) => {
    checkMla({ kvLens }, dtype, device)
    checkMla({ kvLens, qoLen: 4 }, dtype, device)
  })

  it.each([1, 3, 9, 16, 63, 64])('%d heads', (numHeads) => {
    checkMla({ numHeads, kvLens: [70, 20] }, dtype, device)
    checkMla({ numHeads, kvLens: [70, 20], qoLen: 2 }, dtype, device)
  })

  it.each([[1, 2], [7, 4], [59, 20], [256, 64], [512, 64]])('latents of %d + %d', (kvLoraRank, qkRopeHeadDim) => {
    checkMla({ kvLoraRank, qkRopeHeadDim, kvLens: [35, 66] }, dtype, device)
    checkMla({ kvLoraRank, qkRopeHeadDim, kvLens: [35, 66], qoLen: 17 }, dtype, device)
  })
})

describe.each(testDevices)('mlaDecode on %s', (device) => {
  it('is causal unless told', () => {
    const stored = storeMla({ ...baseMlaCase, qoLen: 3 }, 'float32', device, 101)
    const run = (options: { causal?: boolean }): ArrayLike<number> =>
      mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, ...options }).out.readSync()
    expectSameBits(run({}), run({ causal: true }))
    expect(run({ causal: false })).not.toEqual(run({}))
  })

  it('gives each sequence the bits that it has alone, in every run', () => {
    const c = { ...baseMlaCase, kvLens: [900, 12, 65], numHeads: 16 }
    const stored = storeMla(c, 'float32', device, 102)
    const run = (): FloatTensor => mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out
    const whole = run()
    for (let i = 0; i < 4; ++i) expectSameBits(run().readSync(), whole.readSync())
    const single = storeMla({ ...c, kvLens: [900] }, 'float32', device, 102)
    const alone = mlaDecode(single.qNope, single.qPe, single.cache, single.batch, { softmaxScale: 0.2 }).out
    expectSameBits(alone.readSync(), whole.slice(0, 0, 1).readSync())
  })

  it('plans as it runs', () => {
    // The kernel that splits keys on CUDA is that of tensor cores.
    const stored = storeMla({ ...baseMlaCase, kvLens: [3000] }, device === 'cpu' ? 'float32' : 'float16', device, 103)
    using plan = mlaDecode.plan(stored.cache, stored.batch, { qoLen: 1, numHeads: 5 })
    expect(plan.kernel).toMatch(/^mla_decode_/)
    expect(plan.numSplits).toBeGreaterThan(1)
    const planned = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, plan }).out.readSync()
    expectSameBits(planned, mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out.readSync())
  })

  it('writes the out that it is given', () => {
    const stored = storeMla(baseMlaCase, 'float32', device, 104)
    const expected = mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2 }).out
    const out = tensorOf(new Float32Array(3 * 5 * 40).fill(7), [3, 1, 5, 40], 'float32', device)
    const view = out.slice(3, 4, 36)
    mlaDecode(stored.qNope, stored.qPe, stored.cache, stored.batch, { softmaxScale: 0.2, out: view })
    expectSameBits(view.readSync(), expected.readSync())
    expect(out.readSync().filter((value) => value === 7)).toHaveLength(3 * 5 * 8)
  })
})
