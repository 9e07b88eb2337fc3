// Decoding for compute capability 9.0 on the virtual GPU: each byte of keys and values leaves memory once for all heads of its group and all queries, no
// bank conflicts, and edits that break the kernels are found.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { call, describeWithCuda } from './calls'
import type { LaunchReport } from './report'
import { root } from './samples'

type CacheDType = 'bfloat16' | 'float8_e4m3'

function run(dtype: CacheDType, queries = 1, env: Record<string, string> = {}): LaunchReport[] {
  const { launches } = call('decode.ts', [dtype, String(queries)], { VGPU_CC: '90', ...env })
  return launches.filter(({ kernel }) => kernel.startsWith('attention_'))
}

const kernels = { bfloat16: 'attention_decode_bf16_d128', float8_e4m3: 'attention_decode_e4m3_d128' }

describeWithCuda('its decoding kernels for compute capability 9.0 are not tested')('decoding on compute capability 9.0', () => {
  // [cache, queries, rows of the tile that holds 4 heads of them]
  test.each([['bfloat16', 1, 8], ['bfloat16', 4, 16], ['bfloat16', 9, 64], ['float8_e4m3', 1, 8], ['float8_e4m3', 9, 64]] as const)(
    'of a cache in %s with %d queries: the bytes of keys and values once', (dtype, queries, rows) => {
      const launches = run(dtype, queries)
      expect(launches.map(({ kernel }) => kernel)).toEqual([`${kernels[dtype]}_r${rows}`, 'attention_decode_bf16_combine'])
      expect(launches.filter(({ finding }) => finding !== undefined)).toEqual([])
      const [launch] = launches as [LaunchReport]
      const kvBytes = (700 + 77) * 4 * 128 * (dtype === 'bfloat16' ? 2 : 1)
      const kv = launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === kvBytes)
      expect(kv.map(({ loadedBytes }) => loadedBytes)).toEqual([kvBytes, kvBytes])
      expect(launch.sharedWays).toBe(launch.sharedPhases)
      for (const { storedBytes, uniqueStoredBytes } of launches.flatMap(({ traffic }) => traffic)) expect(storedBytes).toBe(uniqueStoredBytes)
      // Tiles of 64 keys for each of 4 kv heads: 11 of 700 keys and 2 of 77, whose two products are 2 · 64 · rows · 128 operations each.
      expect(launch.wgmmaFlops).toBe(4 * (11 + 2) * 2 * 2 * 64 * rows * 128)
    })

  const copied = /^(read of pending copy|shared memory race)$/
  const freed = /^(mbarrier misuse|shared memory race)$/
  // Nobody can know of another warp's fence either.
  const exchanged = /^(uninitialised shared read|missing syncwarp|shared memory race|missing proxy fence)$/
  const finished = /^(register of wgmma in flight|shared memory race)$/
  const done = 'setp.eq.u32 p, 0, 0'
  // "n|statement|replacement": the n-th of the kernel that begins so.
  test.each([
    ['no wait until the stage of keys is free', `0|mbarrier.try_wait|${done}`, freed],
    ['no wait until the stage of values is free', `1|mbarrier.try_wait|${done}`, freed],
    ['no wait for keys', `2|mbarrier.try_wait|${done}`, copied],
    ['no wait for values', `4|mbarrier.try_wait|${done}`, copied],
    ['keys are never given back', '0|mbarrier.arrive.shared|', /^deadlock$/],
    ['values are never given back', '1|mbarrier.arrive.shared|', /^deadlock$/],
    ['no bytes expected', '0|mbarrier.arrive.expect_tx|', /^deadlock$/],
    ['no fence after the barriers are made', '0|fence.mbarrier_init|', /^mbarrier misuse$/],
    ['nobody waits for the barriers to be made', '0|bar.sync|', /^mbarrier misuse$/],
    ['nobody waits for the queries', '0|barrier.sync|', exchanged],
    ['nobody waits for the maxima', '1|barrier.sync|', exchanged],
    ['nobody waits for the probabilities', '4|barrier.sync|', exchanged],
    ['nobody waits for the sums', '5|barrier.sync|', exchanged],
    ['queries without a fence', '0|fence.proxy.async|', /^missing proxy fence$/],
    ['probabilities without a fence', '1|fence.proxy.async|', /^missing proxy fence$/],
    ['scores without a fence', '0|wgmma.fence|', /^missing wgmma.fence$/],
    ['outputs without a fence', '1|wgmma.fence|', /^missing wgmma.fence$/],
    ['no wait for scores', '0|wgmma.wait_group|', finished],
    ['no wait for outputs', '1|wgmma.wait_group|', finished],
    ['scores in no group', '0|wgmma.commit_group|', finished],
    ['outputs in no group', '1|wgmma.commit_group|', finished],
  ])('%s: is found', (_, edit, finding) => {
    for (const [dtype, seed] of [['bfloat16', '0'], ['float8_e4m3', '1']] as const) {
      const kernel = `${kernels[dtype]}_r8`
      const launches = run(dtype, 1, { VGPU_REPLACE: `${kernel}|${edit}`, VGPU_SEED: seed })
      const broken = launches.find((launch) => launch.finding !== undefined)
      expect(broken?.kernel).toBe(kernel)
      expect(broken?.finding).toMatch(finding)
    }
  })

  // On the virtual GPU launches never overlap: that the sum waits for the splits is read off its text.
  test('the sum over the splits reads nothing before it has waited for them', () => {
    const ptx = readFileSync(join(root, 'build', 'cmake-js-cuda', 'attention_decode_sm90a.ptx'), 'utf8')
    const combines = ptx.split('.visible .entry ').filter((entry) => /^attention_decode_b?f16_combine\(/.test(entry))
    expect(combines).toHaveLength(2)
    for (const entry of combines) {
      const [wait, access] = [/griddepcontrol\.wait;/, /\b(?:ld|st)\.(?!param)/].map((pattern) => entry.search(pattern))
      expect(wait).toBeGreaterThan(0)
      expect(access).toBeGreaterThan(wait!)
      expect(entry.slice(0, wait)).not.toMatch(/\bbra\b/)
    }
  })

  test.each(['bfloat16', 'float8_e4m3'] as const)('%s: other orders of warps, blocks and copies give no finding and the same counts', (dtype) => {
    const launches = (seed: string) => run(dtype, 2, { VGPU_SEED: seed })
    // Addresses are no counts, and how often a wait fails is the order's.
    const counted = (seed: string) => launches(seed).map(({ globalLoadedBytes, wgmmas, tmaBytes, traffic, finding }) => {
      expect(finding).toBeUndefined()
      return { globalLoadedBytes, wgmmas, tmaBytes, traffic: traffic.map((t) => ({ ...t, address: 0 })) }
    })
    const first = counted('0')
    for (const seed of ['1', '2']) expect(counted(seed)).toEqual(first)
  })
})
