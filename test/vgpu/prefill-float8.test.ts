// Prefill of float8_e4m3 with 256 features on compute capability 9.0, the kernel with the fullest registers and shared memory, on the virtual GPU: copies
// and outputs once, values turned round without bank conflicts, and edits that break the kernel are found.
import { call, describeWithCuda } from './calls'
import type { LaunchReport } from './report'

const kernel = 'attention_prefill_e4m3_256'

const run = (kind: 'prefill-e4m3' | 'hidden-e4m3' | 'tiles-e4m3', env: Record<string, string>): LaunchReport[] => call('attention.ts', [kind], { VGPU_CC: '90', ...env }).launches

describeWithCuda('its prefill kernel of float8_e4m3 is not tested')('prefill of float8_e4m3 on compute capability 9.0', () => {
  test.each(['0', '1', '2'])('every byte is copied once, nothing is found, seed %s', (seed) => {
    for (const kind of ['prefill-e4m3', 'hidden-e4m3'] as const) {
      const launches = run(kind, { VGPU_SEED: seed })
      expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
      const launch = launches.find((one) => one.kernel === kernel)!
      // [2, 130, 8 heads, 256] queries and bfloat16 outputs, [2, 700, 2 heads, 256] keys and values; 32 queries with their 4 heads are a tile, which sees keys
      // up to its last query's own, in steps of 128.
      const queryBytes = 2 * 130 * 8 * 256
      const steps = [0, 32, 64, 96, 128].map((first) => Math.ceil((Math.min(first + 32, 130) + 570) / 128))
      const kvBytes = 2 * 2 * 256 * steps.reduce((sum, count) => sum + Math.min(count * 128, 700), 0)
      const loaded = launch.traffic.filter(({ loadedBytes }) => loadedBytes > 0).map(({ loadedBytes }) => loadedBytes)
      // What is not finite is read once more by the rows that see it.
      if (kind === 'prefill-e4m3') expect(loaded).toEqual([queryBytes, kvBytes, kvBytes])
      const stored = launch.traffic.filter(({ storedBytes }) => storedBytes > 0)
      expect(stored.map(({ storedBytes, uniqueStoredBytes }) => [storedBytes, uniqueStoredBytes])).toEqual([[2 * queryBytes, 2 * queryBytes]])
      expect(launch.sharedWays).toBe(launch.sharedPhases)
      // Both consumers, 64 rows each, multiply all keys of a step with the queries, and the values with both parts of the probabilities.
      const operations = 2 * 128 * 128 * 256 * (1 + 2)
      expect(launch.wgmmaFlops).toBe(2 * 2 * operations * steps.reduce((sum, count) => sum + count, 0))
    }
  })

  test('blocks of several tiles: nothing is found', () => {
    const launch = run('tiles-e4m3', {}).find((one) => one.kernel === kernel)!
    expect(launch.finding).toBeUndefined()
  })

  const copies = /^(read of pending copy|shared memory race|mbarrier misuse)$/
  const products = /^register of wgmma in flight$/
  const fence = /^missing wgmma.fence$/
  const done = 'setp.eq.u32 p, 0, 0'
  // "n|statement|replacement" in the order of the kernel's text: those who turn values round, consumers, the producer that gathers,
  // which does not run here, and the one that asks for boxes.
  const edits: readonly (readonly [string, RegExp])[] = [
    ...[0, 1, 2, 3, 4, 9, 10].map((n) => [`${n}|mbarrier.try_wait|${done}`, copies] as const),
    // The product of the scores, and four of the values.
    ...[0, 1, 2, 3, 4].map((n) => [`${n}|wgmma.wait_group|`, products] as const),
    ...[0, 1, 2, 3, 4].map((n) => [`${n}|wgmma.fence|`, fence] as const),
    ['-1|wgmma.commit_group|', products],
    // Values that were turned round, and room for more: to the consumers, to the producer, from the consumers.
    ...[0, 1, 4].map((n) => [`${n}|mbarrier.arrive.shared|`, /^deadlock$/] as const),
    ['1|mbarrier.arrive.expect_tx|', /^deadlock$/],
    ['0|barrier.sync|', /^barrier misuse$/],
    ['1|fence.proxy.async|', /^missing proxy fence$/],
  ]
  // Room for the queries of a block's next tile.
  const tiles: typeof edits = [[`8|mbarrier.try_wait|${done}`, copies]]
  const all = [['prefill-e4m3', edits], ['tiles-e4m3', tiles]] as const
  test.each(all.flatMap(([kind, of]) => of.map(([edit, finding]) => [kind, edit, finding] as const)))('%s with %s: is found', (kind, edit, finding) => {
    const broken = run(kind, { VGPU_REPLACE: `${kernel}|${edit}` }).filter((launch) => launch.finding !== undefined)
    expect(broken.map((launch) => launch.kernel)).toEqual([kernel])
    expect(broken[0]!.finding).toMatch(finding)
  })
})
