import { readFileSync, readdirSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { arch, platform } from 'node:process'
import type { DeviceInfo } from '../../devices'
import { UnsupportedError } from '../../errors'
import { invoke, native, type TensorHandle } from '../../native'
import { dtypeCode } from '../../tensor/dtype'
import { CommandError } from '../command-error'
import { bytes } from '../report/format'
import type { Absent, BenchMachine, Peaks, Rate } from './report'
import { isRate } from './roofline'

type Kind = Parameters<typeof native.probe>[1]

const samples = 5
/** Seconds. */
const leastSample = 0.004
const maxRounds = 2 ** 22
const memoryShare = 0.25

/** Bytes of the last cache level of the first processor, as Linux tells. */
export function lastCacheBytes(folder = '/sys/devices/system/cpu/cpu0/cache'): number | null {
  try {
    const levels = readdirSync(folder).filter((name) => /^index\d+$/.test(name)).map((name) => {
      const fact = (file: string) => readFileSync(`${folder}/${name}/${file}`, 'utf8').trim()
      const [, size = '', unit = ''] = /^(\d+)([KM]?)$/.exec(fact('size')) ?? []
      return { level: Number(fact('level')), bytes: Number(size) * ({ K: 2 ** 10, M: 2 ** 20 }[unit] ?? 1) }
    })
    return levels.sort((a, b) => b.level - a.level)[0]?.bytes || null
  } catch {
    return null
  }
}

export function machineFacts({ id, name, arch: isa, units, totalMemory }: DeviceInfo): Omit<BenchMachine, 'peaks'> {
  return {
    device: id, name, arch: isa, threads: units, totalMemory, cacheBytes: lastCacheBytes(), node: process.versions.node, platform: `${platform}-${arch}`,
    load: loadavg()[0] ?? 0,
  }
}

/** 'AMD EPYC', 2 threads, avx2 -> bench/results/amd-epyc-2-threads-avx2.json */
export function resultFile({ name, threads, arch: isa }: BenchMachine, what = ''): string {
  const slug = `${name} ${threads} threads ${isa} ${what}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '')
  return join('bench', 'results', `${slug}.json`)
}

/** Measures the peaks of the device on one thread and on all that it computes with, in about `seconds`. */
export async function measurePeaks(device: DeviceInfo, seconds: number, notes: string[]): Promise<Peaks> {
  const each = seconds / 8
  const cacheBytes = lastCacheBytes()
  const registers = (kind: Kind) => rateOf(device, kind, null, 0, each)
  const multiplyAdd = await registers('multiplyAdd')
  const bf16Dot = await registers('bf16Dot').catch((error: unknown): Absent => {
    if (error instanceof UnsupportedError) return { absent: error.rejected.find(({ kernel }) => kernel === `probe_${device.arch}`)?.reason ?? error.message }
    throw error
  })
  const wanted = Math.max(4 * (cacheBytes ?? 0), 2 ** 28)
  const memory = Math.min(wanted, Math.floor(device.freeMemory * memoryShare))
  if (memory < 2 * (cacheBytes ?? 0)) {
    notes.push(`memory was read from ${bytes(memory)} only, less than twice the last cache level: its rate may be the cache's.`)
  }
  return {
    multiplyAdd,
    bf16Dot,
    memoryRead: await readRate(device, memory, each),
    cacheRead: cacheBytes === null ? { absent: 'the system does not tell the size of the last cache level' } : await readRate(device, cacheBytes / 2, each),
  }
}

/** Of two measurements the better one, number by number: neighbours on the machine only ever take. */
export function bestOf(a: Peaks, b: Peaks): Peaks {
  const best = <R extends Rate | Absent>(x: R, y: R): R =>
    isRate(x) && isRate(y) ? { ...x, one: Math.max(x.one, y.one), all: Math.max(x.all, y.all) } : x
  return {
    multiplyAdd: best(a.multiplyAdd, b.multiplyAdd), bf16Dot: best(a.bf16Dot, b.bf16Dot),
    memoryRead: best(a.memoryRead, b.memoryRead), cacheRead: best(a.cacheRead, b.cacheRead),
  }
}

async function readRate(device: DeviceInfo, size: number, seconds: number): Promise<Rate> {
  const count = Math.floor(size / 4)
  // In the device's own memory, like what kernels read; not 0, so that the sum says what was read.
  const words = invoke(() => native.tensorFromNumbers(device.id, dtypeCode('int32'), [count], new Int32Array(count).fill(3)))
  try {
    return await rateOf(device, 'read', words, 3 * count, seconds)
  } finally {
    native.tensorDispose(words)
  }
}

async function rateOf(device: DeviceInfo, kind: Kind, words: TensorHandle | null, sum: number, seconds: number): Promise<Rate> {
  const on = async (threads: number) => {
    const once = async (rounds: number) => {
      const { seconds: took, work, checksum, failure } = await invoke(() => native.probe(device.id, kind, threads, rounds, words))
      const expected = kind === 'read' ? (sum * rounds) % 2 ** 32 : work
      if (failure !== '' || checksum !== expected) {
        throw new CommandError(`measuring the machine (${kind}) failed: ${failure === '' ? `checksum ${checksum}, expected ${expected}` : failure}`)
      }
      return { took, rate: work / took }
    }
    // Of three, the quickest: threads sleep at first, and an interrupted call of few rounds would pass for a long one.
    const quickest = async (rounds: number) => {
      const tries = [await once(rounds), await once(rounds), await once(rounds)]
      return tries.reduce((least, entry) => (entry.took < least.took ? entry : least))
    }
    let rounds = 1
    let last = await quickest(rounds)
    const sample = Math.max(leastSample, seconds / 2 / (2 * samples))
    while (last.took < sample / 2 && rounds < maxRounds) {
      rounds = Math.min(maxRounds, Math.max(rounds + 1, Math.floor(rounds * Math.min(64, (sample / last.took) * 0.9))))
      last = await quickest(rounds)
    }
    let best = last.rate
    for (let i = 0; i < samples; ++i) best = Math.max(best, (await once(rounds)).rate)
    return best
  }
  const one = await on(1)
  return { one, all: device.units === 1 ? one : await on(device.units) }
}
