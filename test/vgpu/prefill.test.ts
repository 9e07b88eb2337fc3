// The prefill kernel of compute capability 9.0 on the virtual GPU: keys and values come once for a tile of rows and its group of heads, shared memory
// without conflicts, of pages whatever their size, and each of several edits that breaks the kernel is found.
import { call, describeWithCuda, type Call } from './calls'
import type { LaunchReport } from './report'

const kernel = 'attention_prefill_bf16_128'

const answerOf = (kind: string, env: Record<string, string>): Call => call('attention.ts', [kind], { VGPU_CC: '90', ...env })
const run = (kind: string, env: Record<string, string>): LaunchReport[] => answerOf(kind, env).launches

describeWithCuda('what its prefill kernel moves is not tested')('prefill on compute capability 9.0', () => {
  const sizes = [
    { dim: 128, more: '', firstQueries: [0, 32, 64, 96, 128], step: 128 },
    { dim: 96, more: '-96', firstQueries: [0, 48, 96], step: 96 },
  ].flatMap((size) => ['0', '1', '2'].map((seed) => ({ ...size, seed })))
  test.each(sizes)('every byte is copied once, nothing is found, heads of $dim, seed $seed', ({ dim, more, firstQueries, step, seed }) => {
    for (const kind of ['prefill', 'hidden']) {
      const launches = run(kind + more, { VGPU_SEED: seed })
      expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
      const launch = launches.find((one) => one.kernel === `attention_prefill_bf16_${dim}`)!
      // [2, 130, 8 heads, dim] queries and outputs, [2, 700, 2 heads, dim] keys and values; 32 or 48 queries with their 4 heads are a tile, which sees keys up
      // to its last query's own, in whole steps.
      const queryBytes = 2 * 130 * 8 * dim * 2
      const tileKeys = firstQueries.map((first) => Math.min(Math.ceil((Math.min(first + firstQueries[1]!, 130) + 570) / step) * step, 700))
      const kvBytes = 2 * 2 * dim * 2 * tileKeys.reduce((sum, keys) => sum + keys, 0)
      const loaded = launch.traffic.filter(({ loadedBytes }) => loadedBytes > 0).map(({ loadedBytes }) => loadedBytes)
      if (kind === 'prefill') expect(loaded).toEqual([queryBytes, kvBytes, kvBytes])
      // Two products for each step of each tile, of as many operations as the features ask for.
      const steps = 2 * 2 * tileKeys.reduce((sum, keys) => sum + Math.ceil(keys / step), 0)
      expect(launch.wgmmaFlops).toBe(steps * 2 * 2 * (firstQueries[1]! * 4) * step * dim)
      const stored = launch.traffic.filter(({ storedBytes }) => storedBytes > 0)
      expect(stored.map(({ storedBytes, uniqueStoredBytes }) => [storedBytes, uniqueStoredBytes])).toEqual([[queryBytes, queryBytes]])
      expect(launch.sharedWays).toBe(launch.sharedPhases)
    }
  })

  test.each(['0', '1', '2'])('of pages of 4 tokens every row that is seen is copied once, and no other, seed %s', (seed) => {
    const { stdout, launches } = answerOf('pages', { VGPU_SEED: seed })
    expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
    expect(stdout).toBe('cuda:0')
    const launch = launches.find((one) => one.kernel === kernel)!
    const queryBytes = 2 * 130 * 8 * 128 * 2
    // Keys that tiles of 32 queries see, of 300 and of 130.
    const tileKeys = [300, 130].flatMap((len) => [0, 32, 64, 96, 128].map((first) => Math.min(first + 32, 130) + len - 130))
    const kvBytes = 2 * 128 * 2 * tileKeys.reduce((sum, keys) => sum + keys, 0)
    expect(launch.cpAsyncBytes).toBe(2 * kvBytes)
    const large = launch.traffic.map(({ loadedBytes }) => loadedBytes).filter((bytes) => bytes >= queryBytes)
    expect(large).toEqual(expect.arrayContaining([queryBytes, kvBytes, kvBytes]))
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  test('blocks of several tiles: nothing is found', () => {
    const launch = run('tiles', {}).find((one) => one.kernel === kernel)!
    expect(launch.finding).toBeUndefined()
  })

  // "n|statement|replacement": each of the waits for an mbarrier in the order of the kernel's text, and so on.
  const copies = /^(read of pending copy|shared memory race|mbarrier misuse)$/
  const products = /^register of wgmma in flight$/
  const edits: readonly (readonly [string, RegExp])[] = [
    ...[0, 1, 2, 3, 4, 5, 10, 11].map((n) => [`${n}|mbarrier.try_wait|setp.eq.u32 p, 0, 0`, copies] as const),
    ...[0, 1, 2, 3].map((n) => [`${n}|wgmma.wait_group|`, products] as const),
    ['-1|wgmma.commit_group|', products],
    ['0|wgmma.fence|', /^missing wgmma.fence$/],
    ['0|bar.sync|', copies],
    ['-1|fence.mbarrier_init|', copies],
    ['0|mbarrier.arrive.shared|', /^deadlock$/],
    ['-1|mbarrier.arrive.expect_tx|', /^deadlock$/],
    ['0|barrier.sync|', /^barrier misuse$/],
  ]
  // The cleaners' writes, before the product reads them.
  const cleaners: typeof edits = [['1|fence.proxy.async|', /^missing proxy fence$/]]
  // Room for the queries of a block's next tile.
  const tiles: typeof edits = [['9|mbarrier.try_wait|setp.eq.u32 p, 0, 0', copies]]
  // What is gathered: a tile is announced by the next one's copies, where the producer has to wait, and at the end. The fences before values are announced
  // are not among them: keys of the next step, which are waited for first, have one after the same copies.
  const gathered: typeof edits = [
    ['4|cp.async.wait_group|', copies],
    ['-1|cp.async.wait_group|', /^(read of pending copy|exit with open copies)$/],
    ['-1|cp.async.commit_group|', /^(read of pending copy|exit with open copies)$/],
    ...[9, 10, 11, 12, 13].map((n) => [`${n}|mbarrier.arrive.shared|`, /^deadlock$/] as const),
    ...[5, 6, 7].map((n) => [`${n}|fence.proxy.async|`, /^missing proxy fence$/] as const),
    ...[7, 8].map((n) => [`${n}|mbarrier.try_wait|setp.eq.u32 p, 0, 0`, copies] as const),
  ]
  const all = [['prefill', edits], ['hidden', cleaners], ['tiles', tiles], ['pages', gathered]] as const
  test.each(all.flatMap(([kind, of]) => of.map(([edit, finding]) => [kind, edit, finding] as const)))('%s with %s: is found', (kind, edit, finding) => {
    const broken = run(kind, { VGPU_REPLACE: `${kernel}|${edit}` }).filter((launch) => launch.finding !== undefined)
    expect(broken.map((launch) => launch.kernel)).toEqual([kernel])
    expect(broken[0]!.finding).toMatch(finding)
  })

  // Threads may write where they like: only the result tells.
  test('pages with rows that are not swizzled: other results', () => {
    const straight = '{ .reg .b32 t; shr.u32 t, $1, 3; and.b32 t, t, 112; xor.b32 $1, $1, t; cp.async.cg.shared.global [$1], [$2], 16, $3; }'
    expect(answerOf('pages', { VGPU_REPLACE: `${kernel}|-1|cp.async.cg.shared.global|${straight}` }).stdout).toBe('differs')
  })
})
