// Which linear runs where cuBLASLt is installed: a stand-in takes its place, which computes on the host and is strict about what it is told.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { childAnswer } from '../support/child'
import { testDevices } from '../support/devices'

const withDevice = testDevices.some((id) => id !== 'cpu') ? describe : describe.skip

interface Answer {
  choice: Record<string, string>
  forced: string
  verified: { kernel: string; dtype: string; status: string; cases: number; share: number; reason?: string }[]
  same: boolean
}

withDevice('linear with a cuBLASLt', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cublaslt-'))
  afterAll(() => { rmSync(folder, { recursive: true }) })

  beforeAll(() => {
    const source = join(__dirname, 'cublaslt', 'stand-in.cpp')
    const compiler = process.env.CXX ?? 'c++'
    const { status, stderr } = spawnSync(compiler, ['-std=c++20', '-O2', '-fPIC', '-shared', '-o', join(folder, 'libcublasLt.so.13'), source, '-ldl'], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
  }, 120_000)

  const linear = (trouble: string, args: readonly string[] = [], wish = 'on'): Promise<Answer> => childAnswer('cuda-linear.ts', args, [], {
    LD_LIBRARY_PATH: [folder, process.env.LD_LIBRARY_PATH].join(':'), NODE_FLASH_ATTENTION_CUBLASLT: wish, STAND_IN: trouble,
  })
  const own = {
    float16: 'linear_tile_sm80', bfloat16: 'linear_tile_sm80', float32: 'linear_plain_sm80', bias: 'linear_tile_sm80', wideBias: 'linear_tile_sm80',
    unaligned: 'linear_plain_sm80', narrowOut: 'linear_tile_sm80', nothing: 'linear_tile_sm80',
  }

  test('takes what lies in plain aligned rows of 16-bit types; own kernels take the rest', async () => {
    const { choice } = await linear('')
    expect(choice).toEqual({ ...own, float16: 'linear_cublaslt_sm80', bfloat16: 'linear_cublaslt_sm80', bias: 'linear_cublaslt_sm80' })
  })

  test('gives right results, the same in a hundred runs', async () => {
    const { verified, same, forced } = await linear('', ['--all'])
    expect(verified.map(({ kernel, dtype, status, reason }) => [kernel, dtype, reason ?? status])).toEqual([
      ['linear_cublaslt_sm80', 'float16', 'ok'], ['linear_cublaslt_sm80', 'bfloat16', 'ok'],
      ['linear_tile_sm80', 'float16', 'ok'], ['linear_tile_sm80', 'bfloat16', 'ok'],
      ['linear_plain_sm80', 'float32', 'ok'], ['linear_plain_sm80', 'float16', 'ok'], ['linear_plain_sm80', 'bfloat16', 'ok'],
    ])
    // With a bias, and with one weight per head.
    expect(verified.slice(0, 2).map(({ cases }) => cases)).toEqual([2, 2])
    expect(same).toBe(true)
    expect(forced).toBe('linear_cublaslt_sm80')
  })

  test.each([
    ['start', /\n {2}linear_cublaslt_sm80: cuBLASLt does not start: cublasLtCreate gave status 1\n/],
    ['algorithm', /\n {2}linear_cublaslt_sm80: cuBLASLt has no algorithm for it\n/],
  ])('without its %s own kernels run, and the reason is told', async (trouble, reason) => {
    const { choice, forced } = await linear(trouble)
    expect(choice).toEqual(own)
    expect(forced).toMatch(reason)
  })

  test('a product that fails is a DeviceError', async () => {
    const { choice } = await linear('product')
    expect(choice.float16).toBe('DeviceError cuda:0: cublasLtMatmul gave status 13')
    expect(choice.float32).toBe('linear_plain_sm80')
  })

  test('NODE_FLASH_ATTENTION_CUBLASLT=off leaves it out', async () => {
    const { choice, forced } = await linear('', [], 'off')
    expect(choice).toEqual(own)
    expect(forced).toBe('no kernel is named linear_cublaslt_sm80')
  })
})
