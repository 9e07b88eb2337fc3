import { readFileSync, readdirSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { arch, platform } from 'node:process'
import type { DeviceInfo } from '../../devices'
import type { BenchMachine } from './report'

/** Bytes of the data caches of the first processor as Linux tells, the last level first. */
export function cacheLevels(folder = '/sys/devices/system/cpu/cpu0/cache'): readonly number[] {
  try {
    const levels = readdirSync(folder).filter((name) => /^index\d+$/.test(name)).map((name) => {
      const fact = (file: string) => readFileSync(`${folder}/${name}/${file}`, 'utf8').trim()
      const [, size = '', unit = ''] = /^(\d+)([KM]?)$/.exec(fact('size')) ?? []
      return { type: fact('type'), level: Number(fact('level')), bytes: Number(size) * ({ K: 2 ** 10, M: 2 ** 20 }[unit] ?? 1) }
    })
    return levels.filter(({ type, bytes }) => type !== 'Instruction' && bytes > 0).sort((a, b) => b.level - a.level).map(({ bytes }) => bytes)
  } catch {
    return []
  }
}

/** Bytes of the last cache level; null where the system does not say. */
export function lastCacheBytes(): number | null {
  return cacheLevels()[0] ?? null
}

export function machineFacts({ id, type, name, arch: isa, units, totalMemory }: DeviceInfo): Omit<BenchMachine, 'peaks'> {
  return {
    device: id, name, arch: isa, threads: units, totalMemory,
    cacheBytes: type === 'cpu' ? lastCacheBytes() : null, node: process.versions.node, platform: `${platform}-${arch}`,
    load: loadavg()[0] ?? 0,
  }
}

/** 'AMD EPYC', 2 threads, avx2 -> bench/results/amd-epyc-2-threads-avx2.json */
export function resultFile({ name, threads, arch: isa }: BenchMachine, what = ''): string {
  const slug = `${name} ${threads} threads ${isa} ${what}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '')
  return join('bench', 'results', `${slug}.json`)
}
