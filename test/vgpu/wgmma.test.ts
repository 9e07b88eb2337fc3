// wgmma and setmaxnreg: every shape and layout against plain sums, sample kernels that are right in every order, and what is found when they are broken.
import { type Mutant } from './edits'
import { buildVirtualGpu, compile, findNvcc, runProgram, runSample, type SampleRun } from './samples'
import { expectFoundUnlessKept, seeds, testSamples } from './sample-tests'

const tryWait = /mbarrier\.try_wait[^;]*;/
const always = 'setp.eq.u32 p, 0, 0;'
const waitGroup = /wgmma\.wait_group[^;]*;/
const fence = /wgmma\.fence[^;]*;/
const commit = /wgmma\.commit_group[^;]*;/
const inFlight = /^register of wgmma in flight$/
const noFence = /^missing wgmma\.fence$/
const order = /^(read of pending copy|shared memory race|uninitialised shared read)$/
const registers = /^setmaxnreg misuse$/
const wrongLayout = /^(wrong swizzle|descriptor misuse)$/

// A descriptor without its address: swizzle 1 (128 bytes), eight rows to the next 1024 bytes.
const descriptor = (swizzle: bigint, stride: bigint, more = 0n) => String((swizzle << 62n) | ((stride / 16n) << 32n) | (1n << 16n) | more)
const descriptorText = new RegExp(descriptor(1n, 1024n))
// Of boxes of 64 bytes width: as keys, and as values, whose next columns are `next` bytes away. PTX has 64-bit numbers with their sign.
const narrow = (swizzle: bigint, stride: bigint, next: bigint) => String(BigInt.asIntN(64, (swizzle << 62n) | ((stride / 16n) << 32n) | ((next / 16n) << 16n)))
const [narrowKeys, narrowValues] = [narrow(2n, 512n, 16n), narrow(2n, 512n, 4096n)]
const narrowMutant = (name: string, from: string, to: string, finding: RegExp): Mutant =>
  ({ name, kernel: 'narrow', pattern: new RegExp(from), n: -1, replacement: to, finding })

const mutants: Mutant[] = [
  { name: 'no wait for the logits', kernel: 'chain', pattern: waitGroup, finding: inFlight },
  { name: 'no wait for the output', kernel: 'chain', pattern: waitGroup, n: 1, finding: /^(register of wgmma in flight|exit with open wgmma groups|shared memory race)$/ },
  { name: 'wait_group 1 instead of 0 for the logits', kernel: 'chain', pattern: waitGroup, replacement: 'wgmma.wait_group.sync.aligned 1;', finding: inFlight },
  {
    name: 'wait_group 1 instead of 0 for the output', kernel: 'chain',
    pattern: waitGroup, n: 1, replacement: 'wgmma.wait_group.sync.aligned 1;',
    finding: /^(register of wgmma in flight|exit with open wgmma groups|shared memory race)$/,
  },
  { name: 'no commit of the logits', kernel: 'chain', pattern: commit, finding: inFlight },
  { name: 'no commit of the output', kernel: 'chain', pattern: commit, n: 1, finding: /^(register of wgmma in flight|exit with open wgmma groups|shared memory race)$/ },
  { name: 'no fence before the logits', kernel: 'chain', pattern: fence, finding: noFence },
  { name: 'no fence before the output', kernel: 'chain', pattern: fence, n: 1, finding: noFence },
  { name: 'swizzle of 64 bytes', kernel: 'chain', pattern: descriptorText, replacement: descriptor(2n, 512n), finding: wrongLayout },
  { name: 'swizzle of 32 bytes', kernel: 'chain', pattern: descriptorText, n: -1, replacement: descriptor(3n, 256n), finding: wrongLayout },
  { name: 'no swizzle', kernel: 'chain', pattern: descriptorText, replacement: descriptor(0n, 1024n), finding: /^wrong swizzle$/ },
  { name: 'a row too far', kernel: 'chain', pattern: descriptorText, replacement: descriptor(1n, 1024n, 8n), finding: /^descriptor misuse$/ },
  { name: '512 bytes from eight rows to the next', kernel: 'chain', pattern: descriptorText, replacement: descriptor(1n, 512n), finding: /^descriptor misuse$/ },
  {
    name: '8 KiB from eight rows to the next', kernel: 'chain',
    pattern: descriptorText, replacement: descriptor(1n, 8192n),
    finding: /^(out of bounds|read of pending copy|shared memory race|uninitialised shared read)$/,
  },
  narrowMutant('swizzle of 128 bytes for keys', narrowKeys, narrow(1n, 1024n, 16n), wrongLayout),
  narrowMutant('swizzle of 128 bytes for values', narrowValues, narrow(1n, 1024n, 4096n), wrongLayout),
  narrowMutant('swizzle of 32 bytes for keys', narrowKeys, narrow(3n, 256n, 16n), wrongLayout),
  narrowMutant('swizzle of 32 bytes for values', narrowValues, narrow(3n, 256n, 4096n), wrongLayout),
  narrowMutant('256 bytes from eight keys to the next', narrowKeys, narrow(2n, 256n, 16n), /^descriptor misuse$/),
  narrowMutant('1024 bytes from eight values to the next', narrowValues, narrow(2n, 1024n, 4096n), /^out of bounds$/),
  narrowMutant('256 bytes to the next columns', narrowValues, narrow(2n, 512n, 256n), /^descriptor misuse$/),
  narrowMutant('8 KiB to the next columns', narrowValues, narrow(2n, 512n, 8192n), /^out of bounds$/),
  { name: 'no wait for the queries', kernel: 'chain', pattern: tryWait, finding: order },
  { name: 'no wait for keys', kernel: 'chain', pattern: tryWait, n: 1, replacement: always, finding: order },
  { name: 'no wait for values', kernel: 'chain', pattern: tryWait, n: 2, replacement: always, finding: order },
  {
    name: 'no wait for an empty stage of keys', kernel: 'chain',
    pattern: tryWait, n: 3, replacement: always,
    finding: /^(mbarrier misuse|shared memory race|read of pending copy)$/,
  },
  {
    name: 'no wait for an empty stage of values', kernel: 'chain',
    pattern: tryWait, n: 4, replacement: always,
    finding: /^(mbarrier misuse|shared memory race|read of pending copy)$/,
  },
  {
    name: 'one register too many per thread of the consumers', kernel: 'chain',
    pattern: /setmaxnreg\.inc[^;]*;/, replacement: 'setmaxnreg.inc.sync.aligned.u32 240;',
    finding: registers,
  },
  { name: 'the producer keeps its registers', kernel: 'chain', pattern: /setmaxnreg\.dec[^;]*;/, finding: registers },
  { name: 'the producer asks for more', kernel: 'chain', pattern: /setmaxnreg\.dec[^;]*;/, replacement: 'setmaxnreg.dec.sync.aligned.u32 200;', finding: registers },
  { name: 'no fence.proxy.async', kernel: 'restage', pattern: /fence\.proxy\.async[^;]*;/, finding: /^missing proxy fence$/ },
  { name: 'no barrier after the stores', kernel: 'restage', pattern: /bar\.sync[^;]*;/, finding: /^(shared memory race|uninitialised shared read|missing proxy fence)$/ },
  {
    name: 'the barrier before the stores', kernel: 'restage',
    pattern: /fence\.proxy\.async[^;]*;([^]*?)bar\.sync[^;]*;/, replacement: 'bar.sync 0;$1fence.proxy.async;',
    finding: /^missing proxy fence$/,
  },
  { name: 'wait_group 2 instead of 1', kernel: 'restage', pattern: waitGroup, replacement: 'wgmma.wait_group.sync.aligned 2;', finding: inFlight },
  { name: 'wait_group 1 instead of 0', kernel: 'restage', pattern: waitGroup, n: 1, replacement: 'wgmma.wait_group.sync.aligned 1;', finding: inFlight },
  { name: 'one group instead of two', kernel: 'restage', pattern: commit, finding: inFlight },
  { name: 'no fence', kernel: 'restage', pattern: fence, finding: noFence },
  {
    name: 'rows of A beyond the tile', kernel: 'restage',
    pattern: /(?<=stmatrix[^;]*\[%r\d+)\]/, replacement: '+1024]',
    finding: /^(shared memory race|uninitialised shared read|missing syncwarp)$/,
  },
]

const nvcc = findNvcc()
const suite = nvcc === undefined ? describe.skip : describe

suite('wgmma', () => {
  let ptx = ''
  beforeAll(() => {
    buildVirtualGpu()
    ptx = compile(nvcc ?? '', 'test/vgpu/kernels/wgmma.cu', 'sm_90a')
  }, 300_000)

  const run = (text: string, kernel: string, seed = '0'): SampleRun => runSample(text, kernel, { VGPU_CC: '90', VGPU_SEED: seed }, 'run_wgmma')

  testSamples(['chain', 'narrow', 'restage'], mutants, () => ptx, run)

  test('counts products and their operations, the same in every order', () => {
    for (const seed of seeds) {
      const [chain] = run(ptx, 'chain', seed).launches
      expect(chain).toMatchObject({ wgmmas: 2 * 6 * 8, wgmmaFlops: 2 * 128 * 384 * 64 * 2, mmaFlops: 0, tmaBytes: (128 + 2 * 384) * 128 })
      // Of each warp: two groups and two fences per tile.
      expect(chain?.instructions['wgmma']).toBe(2 * 4 * 6 * (8 + 2 + 2 + 2))
      const [restage] = run(ptx, 'restage', seed).launches
      expect(restage).toMatchObject({ wgmmas: 8, wgmmaFlops: 2 * 64 * 64 * 64 * 2 })
    }
  })

  test.each(['20', '260', '100'])('setmaxnreg of %s registers is an error when the module is loaded', (count) => {
    const { output } = run(ptx.replace(/setmaxnreg\.inc[^;]*;/, `setmaxnreg.inc.sync.aligned.u32 ${count};`), 'chain')
    expect(output).toContain('multiple of 8 from 24 to 256')
    expect(output).toContain('CUDA_ERROR_INVALID_PTX')
  })

  test.each(['0', '1'])('tests/wgmma.cpp: every shape, type and layout agrees with plain sums, seed %s', (seed) => {
    expect(runProgram('wgmma', [], { VGPU_CC: '90', VGPU_SEED: seed })).toEqual({ status: 0, output: '0 failures\n' })
  })

  const descriptorMisuse = 'descriptor misuse'
  const group = 'warpgroup misuse'
  const flight = 'register of wgmma in flight'
  const open = 'exit with open wgmma groups'
  test.each([
    ...['accumulator_read', 'accumulator_written', 'accumulator_guarded', 'register_of_a_written', 'register_of_a_read', 'register_of_a_shared', 'group_that_stays',
      'never_committed_before_the_wait', 'another_shape_in_its_accumulators'].map((name) => [name, flight]),
    ...['no_first_fence', 'no_fence_after_a_write', 'no_fence_after_a_read', 'no_fence_after_a_write_of_a'].map((name) => [name, 'missing wgmma.fence']),
    ...['never_committed', 'never_waited_for'].map((name) => [name, open]),
    ...['half_a_warp', 'half_a_warp_commits', 'diverged_count'].map((name) => [name, 'divergence']),
    ...['descriptors_of_lanes', 'descriptors_of_warps', 'scale_d_of_warps', 'products_of_warps', 'groups_of_warps', 'three_warps'].map((name) => [name, group]),
    ['a_warp_stays_away', 'deadlock'],
    ...['offset_by_a_row', 'beyond_the_row', 'base_offset', 'reserved_bits', 'stride'].map((name) => [name, descriptorMisuse]),
    ...['row_of_64_bytes', 'beyond_64_bytes', 'stride_of_64_bytes', 'columns_of_64_bytes'].map((name) => [name, descriptorMisuse]),
    ['outside', 'out of bounds'],
    ['unwritten', 'uninitialised shared read'],
    ['no_proxy_fence', 'missing proxy fence'],
    ['no_barrier_after_the_write', 'shared memory race|uninitialised shared read|missing proxy fence'],
    ...['operand_written_after_the_issue', 'operand_released_before_the_wait', 'released_by_one_warp'].map((name) => [name, 'shared memory race']),
    ...['inc_to_fewer', 'dec_to_more', 'no_barrier_between', 'half_a_warpgroup', 'counts_of_warps', 'more_than_the_pool'].map((name) => [name, 'setmaxnreg misuse']),
  ])('%s: %s, and nothing when the rule is kept', (name, finding) => expectFoundUnlessKept('wgmma_rules', name ?? '', finding ?? ''))
})
