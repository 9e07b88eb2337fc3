// Which kernels are chosen on each compute capability, and on devices with little shared memory; all of them compute the same.
import { devices } from '../../lib/index'
import { call } from './calls'

function run(env: Record<string, string>): { arch: string; differences: Record<string, number>; digest: string; kernels: string[] } {
  const { stdout, launches } = call('every-op.ts', [], env)
  expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
  return { ...(JSON.parse(stdout) as ReturnType<typeof run>), kernels: [...new Set(launches.map(({ kernel }) => kernel))] }
}

const small = ['rms_norm_warp_wide_float16', 'rope_wide_float16']
const common = ['attention_tile_f16_128', 'attention_split_f16_d64_r16', 'attention_split_f16_combine', 'mla_decode_f16_r16', 'mla_decode_f16_combine',
  'linear_medium_f16', ...small]

const suite = devices.unavailableReason('cuda') === undefined ? describe : describe.skip

suite('the kernels chosen', () => {
  test.each([
    // 64 heads of one latent are one tile of 64 rows where a block may have 163 KiB of shared memory, two of 32 where it may have 99.
    [{ VGPU_CC: '80' }, 'sm_80', [...common, 'mla_decode_f16_r64']],
    [{ VGPU_CC: '86' }, 'sm_86', [...common, 'mla_decode_f16_r32']],
    [{ VGPU_CC: '89' }, 'sm_89', [...common, 'mla_decode_f16_r32']],
    [{ VGPU_CC: '90' }, 'sm_90', ['attention_prefill_f16_128', 'attention_decode_f16_d64_r8', 'attention_decode_f16_combine', 'mla_decode_f16_sm90a',
      'mla_decode_f16_sm90a_combine', 'linear_medium_f16', ...small]],
    [{ VGPU_CC: '100' }, 'sm_100', [...common, 'mla_decode_f16_r64']],
    // Of the rows for tensor cores 48 KiB hold the narrowest prefill alone: for the rest the plain ones remain.
    [{ VGPU_SHARED: '49152' }, 'sm_80', ['attention_tile_f16_64', 'attention_plain_f16', 'linear_plain_any', ...small]],
  ])('%j', (env, arch, kernels) => {
    const seen = run(env)
    expect(seen.arch).toBe(arch)
    const ours = /^(attention|mla_decode|linear|rms_norm|rope)_/
    expect(seen.kernels.filter((name) => ours.test(name)).sort()).toEqual([...kernels].sort())
    // Each side rounds the softmax's weights and the result to float16 once; sums of a hundred products differ in their order.
    for (const [op, difference] of Object.entries(seen.differences)) expect({ op, difference, wrong: !(difference < 4 * 2 ** -11) }).toMatchObject({ wrong: false })
  })

  test('the bits do not depend on the order in which warps and blocks run', () => {
    const digests = ['0', '1', '2', '3', '4'].map((seed) => run({ VGPU_SEED: seed }).digest)
    expect(new Set(digests).size).toBe(1)
  })

  test('a row that needs more shared memory than there is says so', () => {
    const { stdout } = call('forced-row.ts', ['attention_tile_sm80'], { VGPU_SHARED: '49152' })
    expect(stdout).toMatch(/\n {2}attention_tile_sm80: needs \d+ bytes of shared memory per block, this device allows 49152\n/)
  })
})
