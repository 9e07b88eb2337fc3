import { flashAttention, Tensor } from '../../lib'
import { caseOf } from '../../lib/cli/bench/cases'
import type { Measured } from '../../lib/cli/bench/measure'
import type { Peer, PeerVariant } from '../../lib/cli/bench/peers/peer'
import type { BenchMachine } from '../../lib/cli/bench/report'
import { settingsOf } from '../../lib/cli/bench/request'
import { besideCudnn, cudnnOp } from '../../lib/cli/bench/targets/cudnn'
import { judgedGpu } from '../../lib/cli/bench/targets/gpu-judge'
import { type GpuTarget, checkUnscaled, gpuTargets, scaled } from '../../lib/cli/bench/targets/gpu-list'
import { targetRows } from '../../lib/cli/bench/targets/rows'
import { spreadOf } from '../../lib/cli/compare/spread'
import { judge } from '../../lib/cli/verify/case'

const machine = { peaks: { matmul: { all: 100 }, copy: { all: 10 } }, cacheBytes: null } as unknown as BenchMachine
const base = settingsOf({ preset: 'llama-3-8b', batch: 1, causal: true, dtype: 'float32', device: 'cpu', rounds: 1, seconds: 1 }, 'cpu')

describe('a GPU target', () => {
  const target = (goal: GpuTarget['goal'], settings: GpuTarget['settings'] = {}): GpuTarget => ({ name: 'x', op: 'prefill', length: 1, settings, goal })
  /** So many operations and bytes in a second. */
  const one = (given: GpuTarget, flops: number, bytes: number, beside: Parameters<typeof judgedGpu>[3] = '') => {
    const measured: Measured = { op: 'prefill', length: 1, kernels: [], flops, bytes, time: spreadOf([1]), calls: 1, errorShare: 0 }
    return judgedGpu(given, measured, machine, beside)
  }
  const beside = (ratio: number) => ({ ours: spreadOf([1]), peer: spreadOf([ratio]), ratio: spreadOf([ratio]), version: '9' })

  test('beside cuDNN is met from the same speed on, and has no verdict where there was no cuDNN', () => {
    expect(one(target({ kind: 'cudnn' }), 50, 1, beside(1))).toMatchObject({ met: true, bound: 'compute', share: 0.5 })
    expect(one(target({ kind: 'cudnn' }), 50, 1, beside(0.99))).toMatchObject({ met: false, measured: expect.stringMatching(/^0\.99× /) as string })
    const without = one(target({ kind: 'cudnn' }), 50, 1, 'not there')
    expect(without).toMatchObject({ met: null, measured: expect.stringContaining('not there') as string })
    expect(targetRows({ targets: [without], speedups: {}, enqueue: {} } as never)[0]![5]).toBe('–')
  })

  test('of a rate, of the copy bandwidth, of a time', () => {
    expect([660e12, 659e12].map((rate) => one(target({ kind: 'rate', least: 660e12, source: 'said so' }), rate, 1).met)).toEqual([true, false])
    expect([9, 8.9].map((bytes) => one(target({ kind: 'copy', least: 0.9 }), 1, bytes).met)).toEqual([true, false])
    expect([1, 0.9].map((most) => one(target({ kind: 'time', most }), 1, 1).met)).toEqual([true, false])
  })

  test('in float8_e4m3 has a share of twice the rate that was measured', () => {
    const result = one(target({ kind: 'rate', least: 1, source: '' }, { inputDType: 'float8_e4m3' }), 100, 1)
    expect(result).toMatchObject({ share: 0.5, twicePeak: true })
    expect(targetRows({ targets: [result], speedups: {}, enqueue: {} } as never)[0]!.at(-1)).toBe('50% of twice the bfloat16 matrix product')
  })

  test('counts visible pairs of every query, with lengths of each sequence', () => {
    const find = (text: string) => gpuTargets.find(({ name }) => name.includes(text))!
    const flops = ({ op, settings, length }: GpuTarget) => caseOf[op]({ ...base, ...settings }, length).flops
    const pairs = [4641, 45118, 1730, 1696].reduce((sum, len) => sum + 4 * len - 6, 0)
    expect(flops(find('4 tokens'))).toBe(2 * (576 + 512) * 16 * pairs)
    expect(flops(find('16,384, full'))).toBe(2 * 256 * 64 * 16384 ** 2)
    expect(flops(find('8,192, causal, 128 heads'))).toBe(2 * (192 + 128) * 128 * (8192 * 8193) / 2)
  })

  test('has a name of its own, and scaled down computes what float64 does', () => {
    expect(new Set(gpuTargets.map(({ name }) => name)).size).toBe(gpuTargets.length)
    for (const { name, op, length, settings } of gpuTargets.map((given) => scaled(given, 2048))) {
      using opened = caseOf[op]({ ...base, ...settings }, length).open()
      expect([name, judge(opened.check()).failure]).toEqual([name, undefined])
    }
  })

  test('that was scaled is not saved', () => {
    expect(() => { checkUnscaled(2, true) }).toThrow('--save: expected shapes that are not scaled: no --scale, received --scale 2')
    checkUnscaled(1, true)
    checkUnscaled(2, false)
  })
})

describe('beside cuDNN, by a stand-in', () => {
  const shape = { batch: 1, qoLen: 4, kvLen: 4, numQoHeads: 4, numKvHeads: 2, headDimQk: 16, headDimVo: 16, causal: true, dtype: 'bfloat16' } as const
  const asked: (string | undefined)[] = []
  const peer = (change: (bits: Uint16Array) => void): Peer => ({
    name: 'torch', version: '9', openLatent: () => Promise.resolve([]),
    open: (_, inputs, __, only) => {
      asked.push(only)
      const run = async () => {
        const [q, k, v] = ([['q', 4], ['k', 2], ['v', 2]] as const).map(([name, heads]) => (
          Tensor.fromBits(inputs[name] as Uint16Array, [1, 4, heads, 16], { dtype: 'bfloat16' })
        ))
        const bits = await flashAttention(q!, k!, v!, { causal: true }).out.readBits() as Uint16Array
        change(bits)
        return bits
      }
      const variant: PeerVariant = {
        op: only!, outside: true, run, runMany: () => Promise.resolve(0.5), runRecorded: () => Promise.resolve(), kernelTimes: () => Promise.resolve([]),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }
      return Promise.resolve([variant])
    },
  })

  test('asks for cuDNN alone, and gives the ratio of the rounds', async () => {
    const times = await besideCudnn(peer(() => undefined), shape, { device: 'cpu' }, { rounds: 3, seconds: 0.1 })
    expect(asked).toEqual([cudnnOp])
    expect(times).toMatchObject({ version: '9', peer: { median: 0.5, rounds: 3 } })
    expect(typeof times === 'object' && times.ratio.median).toBeGreaterThan(1)
  })

  test('times nothing that computes something else', async () => {
    const wrong = besideCudnn(peer((bits) => { bits[3] = 0x4100 }), shape, { device: 'cpu' }, { rounds: 3, seconds: 0.1 })
    await expect(wrong).rejects.toThrow(/CUDNN_ATTENTION computes something else: number 3 is 8/)
  })

  test('says why there is nothing beside', async () => {
    const none: Peer = { ...peer(() => undefined), open: () => Promise.resolve([{ op: cudnnOp, refused: 'no' }]) }
    expect(await besideCudnn(none, shape, { device: 'cpu' }, { rounds: 3, seconds: 0.1 })).toBe('CUDNN_ATTENTION: no')
  })
})
