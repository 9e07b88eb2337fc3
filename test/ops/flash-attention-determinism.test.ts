import { devices, flashAttention, type AttentionResult, type Tensor } from '../../lib/index'
import { attentionCase, caseName, makeArrays } from '../support/attention-cases'
import { expectSameBits } from '../support/compare'
import { devicesAndDTypes } from '../support/devices'
import { callOptions, packedTensors } from '../support/run-attention'

// Decoding over many keys is split over threads, prefill is not, and the last shape has both kinds of rows.
const cases = [
  attentionCase({ batch: 2, qoLen: 1, kvLen: 5000, numQoHeads: 4, numKvHeads: 1, headDimQk: 64 }),
  attentionCase({ batch: 2, qoLen: 150, kvLen: 333, numQoHeads: 4, numKvHeads: 2, headDimQk: 40, options: { causal: true } }),
  attentionCase({ batch: 3, qoLen: 5, kvLen: 2100, numQoHeads: 6, numKvHeads: 2, headDimQk: 32, options: { kvLens: [2100, 3, 700] } }),
]

describe.each(devicesAndDTypes)('bits of flashAttention on %s in %s', (device, dtype) => {
  const initialThreads = devices.get('cpu').units
  afterEach(() => devices.setNumThreads(initialThreads))

  describe.each(cases.map((c) => [caseName(c), c] as const))('%s', (_, c) => {
    const arrays = makeArrays(c, dtype, 30)
    const run = (): { out: ArrayLike<number>; lse: ArrayLike<number> } => {
      const { q, k, v } = packedTensors(arrays, dtype, device)
      const result = flashAttention(q, k, v, callOptions(c.options, c.batch, c.numQoHeads, device))
      return { out: result.out.readSync(), lse: result.lse.readSync() }
    }

    it('are the same in every run', () => {
      const first = run()
      for (let i = 0; i < 4; ++i) {
        const again = run()
        expectSameBits(again.out, first.out, 'out')
        expectSameBits(again.lse, first.lse, 'lse')
      }
    })

    it('do not depend on the number of threads', () => {
      devices.setNumThreads(1)
      const alone = run()
      for (const threads of [2, 3, 5]) {
        devices.setNumThreads(threads)
        const together = run()
        expectSameBits(together.out, alone.out, `out with ${threads} threads`)
        expectSameBits(together.lse, alone.lse, `lse with ${threads} threads`)
      }
    })

    it('do not depend on the batch around a sequence', () => {
      const { q, k, v } = packedTensors(arrays, dtype, device)
      const options = callOptions(c.options, c.batch, c.numQoHeads, device)
      const whole: AttentionResult<true> = flashAttention(q, k, v, options)
      for (let b = 0; b < c.batch; ++b) {
        const row = <T extends Tensor>(tensor: T): T => tensor.slice(0, b, b + 1) as T
        const single = flashAttention(row(q), row(k), row(v), { ...options, ...(options.kvLens && { kvLens: row(options.kvLens) }) })
        expectSameBits(single.out.readSync(), row(whole.out).readSync(), `out of sequence ${b}`)
        expectSameBits(single.lse.readSync(), row(whole.lse).readSync(), `lse of sequence ${b}`)
      }
    })
  })
})
