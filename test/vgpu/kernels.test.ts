// The package's own kernels on the virtual GPU: keys and values leave memory once per group of query heads, no bank conflicts, and each of
// several edits that breaks a kernel is found.
import { call, describeWithCuda } from './calls'
import type { LaunchReport } from './report'

const run = (kind: string, env: Record<string, string> = {}): LaunchReport[] => call('attention.ts', [kind], env).launches

describeWithCuda('what its kernels move is not tested')('traffic', () => {
  const attentionOf = (kind: string): LaunchReport => {
    const launches = run(kind)
    expect(launches.filter((launch) => launch.finding !== undefined)).toEqual([])
    const found = launches.find(({ mmaFlops }) => mmaFlops > 0)
    if (found === undefined) throw new Error(`no kernel used tensor cores: ${launches.map(({ kernel }) => kernel).join()}`)
    return found
  }

  test('decode loads each byte of keys and values once for its 4 query heads', () => {
    const launch = attentionOf('decode')
    const kvBytes = 2 * 700 * 2 * 128 * 2
    const kv = launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === kvBytes)
    expect(kv.map(({ loadedBytes }) => loadedBytes)).toEqual([kvBytes, kvBytes])
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  test('mlaDecode loads each byte of the latents once for its 16 heads', () => {
    const launch = attentionOf('mla')
    const latentBytes = (300 + 77) * 576 * 2
    expect(launch.traffic.filter(({ uniqueLoadedBytes }) => uniqueLoadedBytes === latentBytes).map(({ loadedBytes }) => loadedBytes)).toEqual([latentBytes])
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  // [2 sequences, 1 or 130 tokens, heads, value width]; with several splits the outputs of each split, in float32, and what they are weighted by.
  test.each([
    ['decode', 2 * 8 * 128], ['mla', 2 * 16 * 512], ['prefill', 2 * 130 * 8 * 128], ['linear', 200 * 192],
  ])('%s stores outputs, log-sum-exps and its workspace, each byte once, and nothing else', (kind, outputs) => {
    const launches = run(kind)
    const attention = launches.filter(({ kernel }) => /^(attention|mla_decode|linear)_/.test(kernel))
    const stored = attention.map(({ traffic }) => traffic.filter(({ storedBytes }) => storedBytes > 0))
    for (const { storedBytes, uniqueStoredBytes } of stored.flat()) expect(storedBytes).toBe(uniqueStoredBytes)
    // The last launch writes the output, in 16 bits; what others write, it reads.
    const last = attention.at(-1)!
    const outs = stored.at(-1)!.filter(({ storedBytes }) => storedBytes === 2 * outputs)
    expect(outs).toHaveLength(1)
    const read = new Set(last.traffic.filter(({ loadedBytes }) => loadedBytes > 0).map(({ address }) => address))
    for (const workspace of stored.slice(0, -1).flat()) expect(read).toContain(workspace.address)
    const rest = stored.at(-1)!.filter((traffic) => !outs.includes(traffic))
    expect(rest.map(({ storedBytes }) => storedBytes)).toEqual(rest.map(() => 4 * outputs / (kind === 'mla' ? 512 : 128)))
    expect(rest.length).toBeLessThanOrEqual(1)
  })

  test('linear meets no bank conflict', () => {
    const launch = attentionOf('linear')
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  test('counters are the same in every order of warps and blocks', () => {
    for (const kind of ['decode', 'mla', 'prefill', 'linear']) {
      // Addresses are no counts.
      const counted = (seed: string) =>
        run(kind, { VGPU_SEED: seed }).map((launch) => ({ ...launch, traffic: launch.traffic.map((t) => ({ ...t, address: 0 })) }))
      expect(counted('3')).toEqual(counted('0'))
    }
  })

  test('prefill stores its output once and meets no bank conflict', () => {
    const launch = attentionOf('prefill')
    const stored = launch.traffic.filter(({ storedBytes }) => storedBytes > 0)
    expect(stored.map(({ storedBytes, uniqueStoredBytes }) => storedBytes - uniqueStoredBytes)).toEqual(stored.map(() => 0))
    expect(launch.sharedWays).toBe(launch.sharedPhases)
  })

  // The kernels broken on purpose: "kernel|n|statement|replacement".
  const order = /^(read of pending copy|uninitialised shared read|shared memory race|missing syncwarp)$/
  const pending = /^read of pending copy$/
  test.each([
    ['decode', 'attention_split_bf16_d128_r16|0|bar.sync|', order],
    ['decode', 'attention_split_bf16_d128_r16|1|bar.sync|', order],
    ['decode', 'attention_split_bf16_d128_r16|2|bar.sync|', order],
    ['decode', 'attention_split_bf16_d128_r16|-1|cp.async.wait_group|', pending],
    ['decode', 'attention_split_bf16_d128_r16|-1|cp.async.commit_group|', pending],
    ['mla', 'mla_decode_bf16_r16|0|bar.sync|', order],
    ['mla', 'mla_decode_bf16_r16|1|bar.sync|', order],
    ['mla', 'mla_decode_bf16_r16|2|bar.sync|', order],
    ['mla', 'mla_decode_bf16_r16|-1|cp.async.wait_group|', pending],
    ['prefill', 'attention_tile_bf16_128|0|bar.sync|', order],
    ['prefill', 'attention_tile_bf16_128|-1|cp.async.wait_group|', pending],
    ['prefill', 'attention_tile_bf16_128|-1|cp.async.commit_group|', pending],
    ['linear', 'linear_medium_bf16|0|bar.sync|', order],
    ['linear', 'linear_medium_bf16|-1|cp.async.wait_group|', pending],
    ['linear', 'linear_medium_bf16|-1|cp.async.commit_group|', pending],
  ])('%s with %s removed: is found', (kind, edit, finding) => {
    for (const seed of ['0', '1']) {
      const launches = run(kind, { VGPU_REPLACE: edit, VGPU_SEED: seed })
      expect(launches.map((launch) => launch.finding ?? '').join('')).toMatch(finding)
      expect(launches.find((launch) => launch.finding !== undefined)?.kernel).toBe(edit.split('|')[0])
    }
  })

  test.each(['decode', 'mla', 'prefill', 'linear'])('%s gives no finding in other orders of warps and blocks', (kind) => {
    for (const seed of ['1', '2', '3']) {
      const launches = run(kind, { VGPU_SEED: seed })
      expect(launches.length).toBeGreaterThan(0)
      expect(launches.filter((launch) => launch.finding !== undefined)).toEqual([])
    }
  })
})
