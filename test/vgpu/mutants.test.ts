// Kernels broken on purpose: one edit of the PTX each, and the checker must name what is wrong, whatever the order of warps and blocks.
import { type Mutant } from './edits'
import { buildVirtualGpu, compile, findNvcc, runSample } from './samples'
import { testSamples } from './sample-tests'

const mutants: Mutant[] = [
  { name: 'first bar.sync removed', kernel: 'matmul', pattern: /bar\.sync[^;]*;/, finding: /^(read of pending copy|missing syncwarp|shared memory race)$/ },
  { name: 'second bar.sync removed', kernel: 'matmul', pattern: /bar\.sync[^;]*;/, n: 1, finding: /^(read of pending copy|shared memory race)$/ },
  { name: 'both waits removed', kernel: 'matmul', pattern: /cp\.async\.wait_group [01];/, n: -1, finding: /^read of pending copy$/ },
  { name: 'last wait_group 1 instead of 0', kernel: 'matmul', pattern: /cp\.async\.wait_group 0;/, replacement: 'cp.async.wait_group 1;', finding: /^read of pending copy$/ },
  { name: 'commit removed', kernel: 'matmul', pattern: /cp\.async\.commit_group;/, n: -1, finding: /^(read of pending copy|exit with open copies)$/ },
  { name: 'ldmatrix 8 bytes off', kernel: 'matmul', pattern: /(?<=m8n8\.x4\.shared\.b16 \{[^}]*\}, \[%r\d+)\]/, replacement: '+8]', finding: /^misaligned$/ },
  { name: 'copy beyond the input', kernel: 'matmul', pattern: /(?<=cp\.async\.cg\.shared\.global \[%r\d+\], \[%rd\d+)\]/, replacement: '+8192]', finding: /^out of bounds$/ },
  { name: 'bar.sync before the combination removed', kernel: 'block_sum', pattern: /bar\.sync[^;]*;/, finding: /^(uninitialised shared read|shared memory race)$/ },
  { name: 'off-by-one bound', kernel: 'block_sum', pattern: /setp\.ge\.s32/, replacement: 'setp.gt.s32', finding: /^out of bounds$/ },
  {
    name: 'shuffle mask without lane 31',
    kernel: 'block_sum',
    pattern: /(?<=shfl\.sync\.bfly\.b32[^;]*, )%r\d+;/,
    replacement: '0x7fffffff;',
    finding: /^(divergence|shuffle from inactive lane)$/,
  },
  { name: 'barrier waits for a warp more', kernel: 'block_sum', pattern: /bar\.sync\s+0;/, replacement: 'bar.sync 0, 160;', finding: /^deadlock$/ },
  { name: 'syncwarp removed', kernel: 'warp_reverse', pattern: /bar\.warp\.sync[^;]*;/, finding: /^missing syncwarp$/ },
  { name: 'fence before the counter removed', kernel: 'last_block', pattern: /(membar|fence)[^;]*;/, n: -1, finding: /^global memory race$/ },
  { name: 'store of a float at an odd address', kernel: 'last_block', pattern: /(?<=st\.global\.f32\s+\[%rd\d+)\]/, replacement: '+2]', finding: /^misaligned$/ },
]

const kernels = ['matmul', 'block_sum', 'warp_reverse', 'last_block']

const nvcc = findNvcc()
// Without a compiler there are no kernels to run; test:cuda fails there on its own.
const suite = nvcc === undefined ? describe.skip : describe

suite('the virtual GPU', () => {
  let ptx = ''
  beforeAll(() => {
    buildVirtualGpu()
    ptx = compile(nvcc ?? '', 'test/vgpu/kernels/samples.cu')
  }, 300_000)

  testSamples(kernels, mutants, () => ptx, (text, kernel, seed) => runSample(text, kernel, { VGPU_SEED: seed }))

  test('counts what the matrix product moves and computes', () => {
    const launch = runSample(ptx, 'matmul').launches[0]!
    expect(launch.mmaFlops).toBe(2 * 64 * 64 * 8)
    expect(launch.cpAsyncBytes).toBe(64 * 64 * 2 + 64 * 8 * 2)
    expect(launch.globalLoadedBytes).toBe(launch.cpAsyncBytes)
    expect(launch.globalStoredBytes).toBe(64 * 8 * 4)
    for (const traffic of launch.traffic) {
      expect(traffic.loadedBytes).toBe(traffic.uniqueLoadedBytes)
      expect(traffic.storedBytes).toBe(traffic.uniqueStoredBytes)
    }
  })

  test('counts the same with every seed', () => {
    const [first, second] = ['0', '9'].map((seed) => runSample(ptx, 'matmul', { VGPU_SEED: seed }).launches[0])
    expect(second).toEqual(first)
  })

  test('VGPU_FAULT makes a launch fail with an illegal address', () => {
    const run = runSample(ptx, 'block_sum', { VGPU_FAULT: 'block_sum' })
    expect(run.status).toBe(2)
    expect(run.output).toContain('CUDA_ERROR_ILLEGAL_ADDRESS')
  })

  test('VGPU_DEVICES=0 is a driver without a GPU, VGPU_MEMORY a small one', () => {
    expect(runSample(ptx, 'block_sum', { VGPU_DEVICES: '0' }).output).toContain('cuInit(0): CUDA_ERROR_NO_DEVICE')
    expect(runSample(ptx, 'block_sum', { VGPU_MEMORY: '1000' }).output).toContain('CUDA_ERROR_OUT_OF_MEMORY')
  })

  test('an unknown instruction is an error when the module is loaded', () => {
    const run = runSample(ptx.replace(/bar\.warp\.sync[^;]*;/, 'wibble.f32 %f1, %f2;'), 'warp_reverse')
    expect(run.output).toMatch(/unknown (instruction|name)/)
    expect(run.output).toContain('CUDA_ERROR_INVALID_PTX')
  })

  test.each(['80', '86', '89', '90', '100', '120'])('code for sm_80 runs on compute capability %s', (capability) => {
    expect(runSample(ptx, 'block_sum', { VGPU_CC: capability }).status).toBe(0)
  })

  test.each([
    ['sm_90', '80', 2],
    ['sm_90', '100', 0],
    ['sm_90a', '90', 0],
    ['sm_90a', '100', 2],
    ['sm_100f', '100', 0],
    ['sm_100f', '120', 2],
  ])('code for %s on compute capability %s', (target, capability, status) => {
    const run = runSample(ptx.replace('.target sm_80', `.target ${target}`), 'block_sum', { VGPU_CC: capability })
    expect(run.status).toBe(status)
  })
})
