// The mechanisms of compute capability 9.0: mbarriers, bulk and tensor copies, proxies, clusters, named barriers. Sample kernels are right in every order;
// broken by one edit each, the checker must name what is wrong whatever the order of warps, blocks and copies.
import { type Mutant } from './edits'
import { buildVirtualGpu, compile, findNvcc, runProgram, runSample, type SampleRun } from './samples'
import { seeds, testSamples } from './sample-tests'

const tryWait = /mbarrier\.try_wait[^;]*;/
const always = 'setp.eq.u32 p, 0, 0;'
const order = /^(read of pending copy|shared memory race|uninitialised shared read)$/
const mbarrier = /^mbarrier misuse$/
const deadlock = /^deadlock$/

const mutants: Mutant[] = [
  { name: 'no wait for a full stage', kernel: 'ring', pattern: tryWait, n: 1, replacement: always, finding: order },
  { name: 'no wait for an empty stage', kernel: 'ring', pattern: tryWait, n: 0, replacement: always, finding: /^(mbarrier misuse|shared memory race)$/ },
  { name: 'stages are never released', kernel: 'ring', pattern: /mbarrier\.arrive\.release[^;]*;/, finding: deadlock },
  { name: 'expect_tx 16 bytes too small', kernel: 'ring', pattern: /(?<=expect_tx[^;]*, )%r\d+;/, replacement: '4080;', finding: mbarrier },
  { name: 'expect_tx 16 bytes too large', kernel: 'ring', pattern: /(?<=expect_tx[^;]*, )%r\d+;/, replacement: '4112;', finding: deadlock },
  { name: 'expect_tx beyond the count', kernel: 'ring', pattern: /(?<=expect_tx[^;]*, )%r\d+;/, replacement: '1048576;', finding: mbarrier },
  {
    name: 'arrival without expect_tx', kernel: 'ring',
    pattern: /mbarrier\.arrive\.expect_tx([^,]*, [^,]*), [^;]*;/,
    replacement: 'mbarrier.arrive.shared::cta.b64 _, [%r67];', finding: /^(mbarrier misuse|read of pending copy)$/,
  },
  { name: 'two arrivals instead of one', kernel: 'ring', pattern: /(?<=mbarrier\.arrive\.release[^;]*\]);/, replacement: ', 3;', finding: mbarrier },
  { name: 'fence after init removed', kernel: 'ring', pattern: /fence\.mbarrier_init[^;]*;/, finding: mbarrier },
  { name: 'bar.sync after init removed', kernel: 'ring', pattern: /bar\.sync[^;]*;/, finding: mbarrier },
  { name: 'no init', kernel: 'ring', pattern: /mbarrier\.init[^;]*;/, finding: mbarrier },
  {
    name: 'init twice', kernel: 'ring',
    pattern: /mbarrier\.init\.shared::cta\.b64 \[%r22\][^;]*;/,
    replacement: 'mbarrier.init.shared::cta.b64 [%r18], 1;', finding: mbarrier,
  },
  { name: 'init with no arrivals', kernel: 'ring', pattern: /(?<=mbarrier\.init[^;]*, )%r\d+;/, replacement: '0;', finding: mbarrier },
  { name: 'syncwarp before the release removed', kernel: 'ring', pattern: /bar\.warp\.sync[^;]*;/, finding: /^shared memory race$/ },
  { name: 'the first wait asks for the wrong parity', kernel: 'ring', pattern: /(?<=try_wait[^;]*\], )%r6;/, replacement: '1;', finding: order },
  { name: 'a parity of 2', kernel: 'ring', pattern: /(?<=try_wait[^;]*\], )%r6;/, replacement: '2;', finding: mbarrier },
  {
    name: 'the result of a wait is ignored', kernel: 'ring',
    pattern: /(?<=b64 p, \[%r8\], %r6; )selp\.u32 (%r\d+), 1, 0, p;/,
    replacement: 'mov.u32 %r36, 1;', finding: order,
  },
  {
    name: 'waits on the wrong barrier', kernel: 'ring',
    pattern: /(?<=try_wait[^;]*, \[)%r8\]/,
    replacement: '%r18]', finding: /^(read of pending copy|shared memory race|uninitialised shared read|mbarrier misuse|misaligned|out of bounds)$/,
  },
  { name: 'relaxed release', kernel: 'ring', pattern: /mbarrier\.arrive\.release/, replacement: 'mbarrier.arrive.relaxed', finding: /^shared memory race$/ },
  { name: 'relaxed wait', kernel: 'ring', pattern: /try_wait\.parity(?=\.shared::cta\.b64 p, \[%r8)/, replacement: 'try_wait.parity.relaxed.cta', finding: order },
  { name: 'copy to an address of 64 bytes', kernel: 'ring', pattern: /(?<=cp\.async\.bulk\.tensor[^[]*\[%r\d+)\]/, replacement: '+64]', finding: /^misaligned$/ },
  { name: 'copy beyond the block', kernel: 'ring', pattern: /(?<=cp\.async\.bulk\.tensor[^[]*\[%r\d+)\]/, replacement: '+8192]', finding: /^out of bounds$/ },
  {
    name: 'a tensor of 3 dimensions', kernel: 'ring',
    pattern: /tensor\.2d([^{]*)\{%r65/,
    replacement: 'tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%r64], [%rd7, {%r65, %r65', finding: /^tensor map misuse$/,
  },
  { name: 'the map at another address', kernel: 'ring', pattern: /(?<=tensor\.2d[^;]*%rd\d+)(?=, \{)/, replacement: '+4', finding: /^misaligned$/ },
  { name: 'a store into the bytes of a barrier', kernel: 'ring', pattern: /bar\.warp\.sync[^;]*;/, replacement: 'st.shared.u32 [%r8], 0;', finding: mbarrier },
  { name: 'a load of the bytes of a barrier', kernel: 'ring', pattern: /bar\.warp\.sync[^;]*;/, replacement: 'ld.shared.u32 %r36, [%r8+4];', finding: mbarrier },
  { name: 'no fence.proxy.async', kernel: 'scatter', pattern: /fence\.proxy\.async[^;]*;/, finding: /^missing proxy fence$/ },
  {
    name: 'fence.proxy.async of global memory', kernel: 'scatter',
    pattern: /fence\.proxy\.async[^;]*;/,
    replacement: 'fence.proxy.async.global;', finding: /^missing proxy fence$/,
  },
  {
    name: 'fence.proxy.async of one thread', kernel: 'scatter',
    pattern: /fence\.proxy\.async[^;]*;([^]*?)(?=cp\.async\.bulk\.tensor)/,
    replacement: '$1fence.proxy.async.shared::cta;', finding: /^missing proxy fence$/,
  },
  {
    name: 'bar.sync before the copy removed', kernel: 'scatter',
    pattern: /bar\.sync[^;]*;/,
    finding: /^(shared memory race|uninitialised shared read|missing syncwarp|missing proxy fence)$/,
  },
  { name: 'bar.sync after the copy removed', kernel: 'scatter', pattern: /bar\.sync[^;]*;/, n: 1, finding: /^(shared memory race|missing proxy fence)$/ },
  { name: 'no wait_group', kernel: 'scatter', pattern: /cp\.async\.bulk\.wait_group[^;]*;/, finding: /^(exit with open bulk copies|shared memory race)$/ },
  {
    name: 'wait_group 1 instead of 0', kernel: 'scatter',
    pattern: /wait_group\.read 0;/,
    replacement: 'wait_group.read 1;', finding: /^(exit with open bulk copies|shared memory race)$/,
  },
  { name: 'no commit_group', kernel: 'scatter', pattern: /cp\.async\.bulk\.commit_group;/, finding: /^(exit with open bulk copies|shared memory race)$/ },
  { name: 'no barrier of the cluster after init', kernel: 'pair', pattern: /barrier\.cluster\.(arrive|wait)[^;]*;/, n: -1, finding: /^(mbarrier misuse|out of bounds)$/ },
  {
    name: 'relaxed barrier of the cluster, without a fence', kernel: 'pair',
    pattern: /fence\.mbarrier_init[^;]*;([^]*?)cluster\.arrive\.release/,
    replacement: '$1cluster.arrive.relaxed', finding: mbarrier,
  },
  { name: 'wait of the cluster without arrive', kernel: 'pair', pattern: /barrier\.cluster\.arrive[^;]*;/, finding: /^barrier misuse$/ },
  { name: 'two arrivals at the barrier of the cluster', kernel: 'pair', pattern: /barrier\.cluster\.wait[^;]*;/, finding: /^(barrier misuse|mbarrier misuse)$/ },
  { name: 'multicast to itself', kernel: 'pair', pattern: /(?<=multicast::cluster[^;]*\], )%rs\d+;/, replacement: '1;', finding: /^(deadlock|mbarrier misuse)$/ },
  { name: 'multicast beyond the cluster', kernel: 'pair', pattern: /(?<=multicast::cluster[^;]*\], )%rs\d+;/, replacement: '7;', finding: /^out of bounds$/ },
  {
    name: 'no release of the other block', kernel: 'pair',
    pattern: /mapa\.shared::cluster\.u32 remote, %r64, %r2;/,
    replacement: 'mov.u32 remote, %r64;', finding: /^(mbarrier misuse|shared memory race)$/,
  },
  {
    name: 'a block that the cluster has not', kernel: 'pair',
    pattern: /(?<=mapa\.shared::cluster\.u32 remote, %r64, )%r2;/,
    replacement: '2;', finding: /^out of bounds$/,
  },
  { name: 'syncwarp before the release removed', kernel: 'pair', pattern: /bar\.warp\.sync[^;]*;/, n: 2, finding: /^shared memory race$/ },
  { name: 'no arrival of the copies', kernel: 'gather', pattern: /cp\.async\.mbarrier\.arrive[^;]*;/, finding: /^(deadlock|exit with open copies)$/ },
  {
    name: 'an arrival before the copies', kernel: 'gather',
    pattern: /cp\.async\.mbarrier\.arrive\.noinc\.shared::cta\.b64/,
    replacement: 'mbarrier.arrive.shared::cta.b64 _,', finding: /^(mbarrier misuse|read of pending copy|exit with open copies)$/,
  },
  { name: 'arrivals that were counted twice', kernel: 'gather', pattern: /\.arrive\.noinc/, replacement: '.arrive', finding: deadlock },
  { name: 'no wait for the copies', kernel: 'gather', pattern: tryWait, replacement: always, finding: order },
  {
    name: 'no wait for a full buffer', kernel: 'relay',
    pattern: /bar\.sync 1[^;]*;/,
    finding: /^(shared memory race|uninitialised shared read|deadlock|barrier misuse)$/,
  },
  { name: 'no wait for an empty buffer', kernel: 'relay', pattern: /bar\.sync 2[^;]*;/, finding: /^(shared memory race|barrier misuse|deadlock)$/ },
  { name: 'a thread count too high', kernel: 'relay', pattern: /bar\.arrive 1, 64;/, replacement: 'bar.arrive 1, 96;', finding: /^barrier misuse$/ },
  {
    name: 'a thread count too low', kernel: 'relay',
    pattern: /(bar\.arrive|bar\.sync) 1, 64;/, n: -1,
    replacement: 'bar.sync 1, 32;', finding: /^(shared memory race|uninitialised shared read|barrier misuse|deadlock)$/,
  },
  { name: 'a barrier that does not exist', kernel: 'relay', pattern: /bar\.arrive 1, 64;/, replacement: 'bar.arrive 16, 64;', finding: /^barrier misuse$/ },
  { name: 'never empty', kernel: 'relay', pattern: /bar\.arrive 2, 64;/, finding: deadlock },
  { name: 'no wait for the copy', kernel: 'total', pattern: tryWait, replacement: always, finding: order },
  { name: 'no fence after init', kernel: 'total', pattern: /fence\.proxy\.async;/, finding: mbarrier },
  { name: 'no fence before the reduction', kernel: 'total', pattern: /fence\.proxy\.async\.shared::cta;/, finding: /^missing proxy fence$/ },
  { name: 'copy from an address of 8 bytes', kernel: 'total', pattern: /(?<=complete_tx::bytes \[%r\d+\], \[%rd\d+)\]/, replacement: '+8]', finding: /^misaligned$/ },
  { name: 'copy beyond the input', kernel: 'total', pattern: /(?<=complete_tx::bytes \[%r\d+\], \[%rd\d+)\]/, replacement: '+8192]', finding: /^out of bounds$/ },
  { name: 'reduction without wait_group', kernel: 'total', pattern: /cp\.async\.bulk\.wait_group[^;]*;/, finding: /^exit with open bulk copies$/ },
]

const kernels = ['ring', 'scatter', 'pair', 'gather', 'relay', 'total']
const nvcc = findNvcc()
const suite = nvcc === undefined ? describe.skip : describe

suite('asynchronous kernels', () => {
  let ptx = ''
  beforeAll(() => {
    buildVirtualGpu()
    ptx = compile(nvcc ?? '', 'test/vgpu/kernels/hopper.cu', 'sm_90a')
  }, 300_000)

  const run = (text: string, kernel: string, seed = '0', more: readonly string[] = []): SampleRun =>
    runSample(text, kernel, { VGPU_CC: '90', VGPU_SEED: seed }, 'run_hopper', more)

  testSamples(kernels, mutants, () => ptx, run)

  test('a tensor map that was never encoded', () => {
    expect(run(ptx, 'ring', '0', ['nomap']).launches.map((launch) => launch.finding)).toEqual(['tensor map misuse'])
    expect(run(ptx, 'scatter', '0', ['nomap']).launches.map((launch) => launch.finding)).toEqual(['tensor map misuse'])
  })

  test('a deadlock names every warp and every mbarrier', () => {
    const { output } = run(ptx.replace(/mbarrier\.arrive\.release[^;]*;/, ''), 'ring')
    expect(output).toMatch(/warp 2: lanes 0x1 wait at hopper\.cu:\d+ {2}mbarrier\.try_wait/)
    expect(output).toMatch(/warp 0: lanes 0xffffffff wait at hopper\.cu:\d+ {2}mbarrier\.try_wait/)
    expect(output).toMatch(/mbarrier at shared \+ 0x[0-9a-f]+: phase 1, 1 of 1 arrivals and 0 bytes of copies are missing/)
    expect(output).toMatch(/mbarrier at shared \+ 0x[0-9a-f]+: phase 0, 2 of 2 arrivals and 0 bytes of copies are missing/)
  })

  test('counts copies, their bytes and waits, the same in every order', () => {
    for (const seed of seeds) {
      const [ring] = run(ptx, 'ring', seed).launches
      expect(ring).toMatchObject({ tmaCopies: 6, tmaBytes: 6 * 4096, globalLoadedBytes: 6 * 4096, mbarrierWaits: 3 * 6 })
      const [pair] = run(ptx, 'pair', seed).launches
      // Each byte leaves memory once for both blocks.
      expect(pair).toMatchObject({ tmaCopies: 12, tmaBytes: 12 * 2048, globalLoadedBytes: 192 * 128, mbarrierWaits: 2 * 12 })
      const [scatter] = run(ptx, 'scatter', seed).launches
      expect(scatter).toMatchObject({ tmaCopies: 4, tmaBytes: 4 * 8192, globalStoredBytes: 4 * 8192, mbarrierWaits: 0 })
    }
  })

  test('code for sm_90a runs on compute capability 9.0 alone', () => {
    for (const capability of ['80', '89', '100', '120']) {
      expect(runSample(ptx, 'relay', { VGPU_CC: capability }, 'run_hopper').output).toContain('CUDA_ERROR_INVALID_PTX')
    }
  })

  test.each(['copies', 'bulk_copies', 'mbarriers', 'tensor_maps'].flatMap((program) => ['0', '1', '2'].map((seed) => [program, seed])))(
    'tests/%s.cpp agrees with its model, seed %s', (program, seed) => {
      const { status, output } = runProgram(program, [], { VGPU_CC: '90', VGPU_SEED: seed })
      // Behind it what the driver says of maps that it refuses.
      expect(output).toMatch(/^0 failures\n(vgpu: cuTensorMapEncodeTiled: .*\n)*$/)
      expect(status).toBe(0)
    },
  )
})
