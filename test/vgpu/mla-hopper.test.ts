// MLA decoding of compute capability 9.0 on the virtual GPU: every latent byte comes once per tile of 64 rows, no bank conflicts, as many
// products as the tiles need, and edits that break the kernel are found.
import { call, describeWithCuda } from './calls'
import type { LaunchReport } from './report'

const run = (kind: string, env: Record<string, string> = {}): LaunchReport[] => call('attention.ts', [kind], { VGPU_CC: '90', ...env }).launches

const kinds = ['mla', 'mla-rows', 'mla-tiles', 'mla-plan', 'mla-e4m3'] as const
const kernelOf = (kind: string): string => (kind === 'mla-e4m3' ? 'mla_decode_e4m3_sm90a' : 'mla_decode_bf16_sm90a')

describeWithCuda('its MLA kernels for compute capability 9.0 are not tested')('mlaDecode on compute capability 9.0', () => {
  const [tokens, blocks] = [300 + 77, 5 + 2]

  test.each(kinds)('%s: each latent byte once for each row tile, no bank conflicts, its products and nothing found', (kind) => {
    const launches = run(kind)
    expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
    const launch = launches.find(({ kernel }) => kernel === kernelOf(kind))!
    const rowTiles = kind === 'mla-tiles' ? 2 : 1
    const rowBytes = kind === 'mla-e4m3' ? 656 : 1152
    const latents = launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === tokens * rowBytes)
    // Scales of float8_e4m3 are read by the four threads of a row, for each of the two boxes that they hold for.
    const scaleBytes = kind === 'mla-e4m3' ? tokens * 16 * 7 : 0
    expect(latents.map(({ loadedBytes }) => loadedBytes)).toEqual([rowTiles * tokens * rowBytes + scaleBytes])
    expect(launch.sharedWays).toBe(launch.sharedPhases)
    // Of the two halves of 256 features each has four products of 16 keys, and the scores 36 of 16 features.
    expect(launch.wgmmas).toBe(rowTiles * blocks * (36 + 2 * 4))
    expect(launch.wgmmaFlops).toBe(rowTiles * blocks * 2 * 64 * 64 * (576 + 512))
    // Whole tiles of whole pages alone come by TMA.
    const tiles = kind === 'mla-rows' || kind === 'mla-e4m3' ? 0 : rowTiles * (4 + 1)
    expect([launch.tmaCopies, launch.tmaBytes]).toEqual([9 * tiles, 64 * 1152 * tiles])
  })

  test('partial results are stored once, and only of sequences that are cut', () => {
    const plan = run('mla-plan')
    const stored = (launches: readonly LaunchReport[]) =>
      launches.filter(({ kernel }) => kernel.includes('sm90a')).flatMap(({ traffic }) => traffic.filter(({ storedBytes }) => storedBytes > 0))
    for (const launches of [plan, run('mla')]) {
      for (const { storedBytes, uniqueStoredBytes } of stored(launches)) expect(storedBytes).toBe(uniqueStoredBytes)
    }
    // Both sequences have one split of 512 keys: the kernel itself writes the output, and the sums of the splits have nothing to do.
    expect(stored(run('mla')).map(({ storedBytes }) => storedBytes)).toEqual([2 * 16 * 512 * 2])
  })

  test.each(kinds)('%s gives the same counts and no finding in other orders of warps, blocks and copies', (kind) => {
    // Addresses are no counts, and how often a warp asks a barrier is a matter of the order.
    const counted = (seed: string) => run(kind, { VGPU_SEED: seed }).map(({ traffic, instructions: _, warpInstructions: __, ...launch }) => (
      { ...launch, mbarrierWaits: 0, traffic: traffic.map((t) => ({ ...t, address: 0 })) }
    ))
    const expected = counted('0')
    for (const seed of ['1', '2']) expect(counted(seed)).toEqual(expected)
  })
  // The kernels broken on purpose: "n|statement|replacement", n counted in one kernel (-1: all).
  const proxy = /^missing proxy fence$/
  test.each([
    ['mla', '-1|fence.proxy.async|', proxy],
    ['mla', '0|fence.proxy.async|', proxy],
    ['mla', '1|fence.proxy.async|', proxy],
    ['mla', '2|fence.proxy.async|', proxy],
    ['mla-rows', '-1|fence.proxy.async|', proxy],
    ['mla-e4m3', '-1|fence.proxy.async|', proxy],
    ['mla', '-1|wgmma.wait_group|', /^register of wgmma in flight$/],
    ['mla', '-1|wgmma.commit_group|', /^register of wgmma in flight$/],
    ['mla', '-1|wgmma.fence|', /^missing wgmma.fence$/],
    ['mla', '-1|mbarrier.try_wait|setp.eq.u32 p, 0, 0', /^(read of pending copy|uninitialised shared read|shared memory race)$/],
    ['mla', '0|mbarrier.arrive.shared|', /^deadlock$/],
    ['mla', '-1|mbarrier.arrive.expect_tx|', /^deadlock$/],
    ['mla', '-1|fence.mbarrier_init|', /^mbarrier misuse$/],
    ['mla', '0|barrier.sync|', /^(read of pending copy|uninitialised shared read|shared memory race)$/],
    ['mla', '1|barrier.sync|', /^(read of pending copy|uninitialised shared read|shared memory race)$/],
    ['mla', '2|barrier.sync|', /^(read of pending copy|uninitialised shared read|shared memory race)$/],
    ['mla-rows', '-1|cp.async.wait_group|', /^(exit with open copies|read of pending copy)$/],
  ] as const)('%s with %s: is found', (kind, edit, finding) => {
    for (const seed of ['0', '1']) {
      const launches = run(kind, { VGPU_REPLACE: `${kernelOf(kind)}|${edit}`, VGPU_SEED: seed })
      expect(launches.map((launch) => launch.finding ?? '').join('')).toMatch(finding)
      expect(launches.find((launch) => launch.finding !== undefined)?.kernel).toBe(kernelOf(kind))
    }
  })
})
