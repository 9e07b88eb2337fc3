import { performance } from 'node:perf_hooks'
import type { DeviceInfo } from '../../devices'
import { UnsupportedError } from '../../errors'
import { invoke, native, type NativeProbeKind as Kind, type TensorHandle } from '../../native'
import { dtypeCode } from '../../tensor/dtype'
import { CommandError } from '../command-error'
import { bytes } from '../report/format'
import { type GpuSizes, measureGpuPeaks } from './gpu-peaks'
import { cacheLevels } from './machine'
import type { Absent, PeakName, Peaks, Rate } from './report'
import { isRate } from './roofline'

const samples = 5
/** Seconds. */
const leastSample = 0.004
const maxRounds = 2 ** 22

const leastMemory = 2 ** 26
const mostMemory = 2 ** 30
/** To make a buffer and to read it as often as needed takes about a second per GiB where memory is slow. */
const memoryPerSecond = 2 ** 30
const memoryShare = 0.25

const now = () => performance.now() / 1000

/** Measures the peaks of the device in about `seconds`. What is noteworthy goes to `notes`. */
export async function measurePeaks(device: DeviceInfo, settings: GpuSizes, seconds: number, notes: string[]): Promise<Peaks> {
  return device.type === 'cpu' ? await measureCpuPeaks(device, seconds, notes) : await measureGpuPeaks(device, seconds, settings)
}

/** Measures the peaks of the CPU on one thread and on all that it computes with, in about `seconds`. */
async function measureCpuPeaks(device: DeviceInfo, seconds: number, notes: string[]): Promise<Peaks> {
  const began = now()
  // Half of the time for memory, whose buffer has to be made, the rest in equal parts; at least one sample each, whatever that takes.
  const until = (share: number) => began + share * seconds
  const registers = (kind: Kind, share: number) => rateOf(device, kind, null, 0, until(share)).catch((error: unknown): Absent => {
    if (!(error instanceof UnsupportedError)) throw error
    const probes = kind === 'bf16Tile' ? ['probe_tile'] : [`probe_${device.arch}`]
    return { absent: error.rejected.find(({ kernel }) => probes.includes(kernel))?.reason ?? error.message }
  })
  const multiplyAdd = await registers('multiplyAdd', 1 / 8)
  const bf16Dot = await registers('bf16Dot', 2 / 8)
  const bf16Tile = await registers('bf16Tile', 3 / 8)
  const [last, beforeLast] = cacheLevels()
  return {
    multiplyAdd, bf16Dot, bf16Tile,
    cacheRead: last === undefined
      ? { absent: 'the system does not tell the size of the last cache level' }
      : await readRate(device, cacheBuffer(last, beforeLast, device.units), until(1 / 2)),
    memoryRead: await readRate(device, memoryBuffer(last ?? 0, device.freeMemory, seconds / 2, notes), until(1)),
  }
}

/** Of two measurements the better one, number by number: neighbours on the machine only ever take. */
export function bestOf(a: Peaks, b: Peaks): Peaks {
  const most = (x: number | undefined, y: number | undefined) => (x === undefined || y === undefined ? x : Math.max(x, y))
  const best = (x: Rate | Absent, y: Rate | Absent | undefined): Rate | Absent => {
    if (!isRate(x) || !isRate(y)) return x
    const one = most(x.one, y.one)
    return { ...(one !== undefined && { one }), all: Math.max(x.all, y.all) }
  }
  return Object.fromEntries((Object.entries(a) as [PeakName, Rate | Absent][]).map(([name, rate]) => [name, best(rate, b[name])]))
}

/** Too large for the caches of the cores, and far below a last level of which a virtual machine may have only a part. */
function cacheBuffer(last: number, beforeLast: number | undefined, threads: number): number {
  return Math.min(last / 2, 4 * threads * (beforeLast ?? last))
}

/** Four times the last cache level as far as the time and the memory that is free allow. */
function memoryBuffer(last: number, free: number, seconds: number, notes: string[]): number {
  const wanted = Math.min(mostMemory, Math.max(4 * last, 2 ** 28))
  const size = Math.floor(Math.min(wanted, free * memoryShare, Math.max(leastMemory, seconds * memoryPerSecond)))
  if (size < 2 * last) {
    notes.push(`memory was read from ${bytes(size)} only, less than twice the last cache level: its rate may be the cache's. More time: --seconds.`)
  }
  return size
}

async function readRate(device: DeviceInfo, size: number, until: number): Promise<Rate> {
  // Rows that repeat the first one: written by the device's own threads. Not 0, so that the sum says what was read.
  const width = 2 ** 14
  const rows = Math.max(1, Math.floor(size / 4 / width))
  const [int32, count] = [dtypeCode('int32'), rows * width]
  const row = invoke(() => native.tensorFromNumbers(device.id, int32, [width], new Int32Array(width).fill(3)))
  const words = invoke(() => native.tensorEmpty(device.id, int32, [count]))
  const views = [[row, [0, 1]], [words, [width, 1]]] as const
  const [from, to] = views.map(([handle, strides]) => invoke(() => native.tensorView(handle, 0, [rows, width], strides))) as [TensorHandle, TensorHandle]
  try {
    invoke(() => { native.copy(from, to) })
    return await rateOf(device, 'read', words, 3 * count, until)
  } finally {
    for (const handle of [from, to, row, words]) native.tensorDispose(handle)
  }
}

/** On one thread and on all; each has half of the time that is left. */
async function rateOf(device: DeviceInfo, kind: Kind, words: TensorHandle | null, sum: number, until: number): Promise<Rate> {
  const on = async (threads: number, end: number) => {
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
      let least = await once(rounds)
      for (let i = 1; i < 3 && now() < end; ++i) {
        const next = await once(rounds)
        if (next.took < least.took) least = next
      }
      return least
    }
    let rounds = 1
    let last = await quickest(rounds)
    const sample = Math.max(leastSample, (end - now()) / (2 * samples))
    while (last.took < sample / 2 && rounds < maxRounds && now() < end) {
      rounds = Math.min(maxRounds, Math.max(rounds + 1, Math.floor(rounds * Math.min(64, (sample / last.took) * 0.9))))
      last = await quickest(rounds)
    }
    let best = last.rate
    for (let i = 0; i < samples && now() < end; ++i) best = Math.max(best, (await once(rounds)).rate)
    return best
  }
  const one = await on(1, (now() + until) / 2)
  return { one, all: device.units === 1 ? one : await on(device.units, until) }
}
