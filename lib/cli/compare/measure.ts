import { performance } from 'node:perf_hooks'
import { type DeviceId, devices } from '../../devices'
import type { Progress } from '../progress'
import { exact, bytes } from '../report/format'
import { type BenchLayer, type LayerSettings, benchLayer } from './layers'
import type { CompareOptions } from './request'
import type { Measured, MechanismReport, Spread } from './report'
import { type Item, timeInTurns } from './schedule'

export interface Measurement {
  /** In the order of the mechanisms. */
  readonly measured: readonly Measured[]
  readonly notes: readonly string[]
}

/** Memory that weights and caches may take of what is free. */
const memoryShare = 0.7

const now = () => performance.now() / 1000

/** Builds the layers, checks them, then times prefill and decode within the time budget. */
export async function measure(mechanisms: readonly MechanismReport[], options: CompareOptions, progress: Progress): Promise<Measurement> {
  const began = now()
  const device = options.device as DeviceId
  const notes: string[] = []
  const lengths = lengthsThatFit(mechanisms, options, devices.get(device).freeMemory, notes)
  const settings: LayerSettings = { device, dtype: options.dtype, batch: options.batch, lengths, prefill: options.prefill, seed: options.seed }
  const layers: BenchLayer[] = []
  try {
    for (const mechanism of mechanisms) {
      progress.phase(`building ${mechanism.title}`)
      layers.push(benchLayer(mechanism.shape, settings))
    }
    progress.phase('checking the outputs')
    const checks: Check[] = []
    for (const layer of layers) checks.push(await layer.check())

    const items = itemsOf(layers, mechanisms, settings)
    const timed = await timeInTurns(items, {
      rounds: options.rounds,
      deadline: began + options.seconds,
      now,
      progress: announcer(progress, began, options.seconds),
    })
    const spreads: (readonly Spread[] | undefined)[] = timed.map((entry, i) => {
      if ('spreads' in entry) return entry.spreads
      notes.push(`${items[i]?.label ?? ''} was left out of the ${options.seconds} s for measuring: ${entry.leftOut}. More time: --seconds.`)
      return undefined
    })
    notes.push(...fewRounds(items, spreads))
    return { measured: layers.map((_, i) => measuredOf(i, spreads, settings, checks[i] ?? {})), notes }
  } finally {
    for (const layer of layers) layer.dispose()
    progress.stop()
  }
}

/** Cheap items first: a budget that runs out leaves out the expensive ones. The last item is the prefill. */
function itemsOf(layers: readonly BenchLayer[], mechanisms: readonly MechanismReport[], { lengths, prefill }: LayerSettings): Item[] {
  const decode = lengths.map((kvLen) => ({ label: `decode at ${exact(kvLen)}`, runs: layers.map((layer) => () => layer.decode(kvLen)) }))
  const costliest = mechanisms.reduce((most, mechanism, i) => (mechanism.prefillFlops > (mechanisms[most]?.prefillFlops ?? 0) ? i : most), 0)
  const probeLen = Math.ceil(prefill / 8)
  const probe = { run: async () => layers[costliest]?.prefill(probeLen), factor: prefill / probeLen }
  return [...decode, { label: `prefill ${exact(prefill)}`, runs: layers.map((layer) => () => layer.prefill(prefill)), ...(prefill >= 64 && { probe }) }]
}

type Check = Awaited<ReturnType<BenchLayer['check']>>

function measuredOf(i: number, spreads: readonly (readonly Spread[] | undefined)[], settings: LayerSettings, check: Check): Measured {
  const prefill = spreads[settings.lengths.length]?.[i]
  return {
    ...(prefill && { prefill: { ...prefill, tokensPerSecond: (settings.batch * settings.prefill) / prefill.median } }),
    decode: settings.lengths.flatMap((kvLen, at) => {
      const spread = spreads[at]?.[i]
      return spread ? [{ kvLen, ...spread }] : []
    }),
    ...check,
  }
}

/** The lengths whose caches, all kept at once, leave room beside the weights. */
function lengthsThatFit(mechanisms: readonly MechanismReport[], options: CompareOptions, free: number, notes: string[]): number[] {
  const { lengths, batch, prefill, dtype } = options
  const elementBytes = dtype === 'float32' ? 4 : 2
  const weights = mechanisms.reduce((sum, mechanism) => sum + mechanism.parameters * elementBytes, 0)
  const perToken = mechanisms.reduce((sum, mechanism) => sum + mechanism.kvBytesPerToken, 0)
  const kept: number[] = []
  for (const kvLen of lengths) {
    const needed = weights + perToken * batch * [...kept, kvLen, prefill].reduce((sum, len) => sum + len, 0)
    if (needed <= free * memoryShare) kept.push(kvLen)
    else notes.push(`decode at ${exact(kvLen)} was not measured: it needs ${bytes(needed)}, ${bytes(free)} are free.`)
  }
  return kept
}

function fewRounds(items: readonly Item[], spreads: readonly (readonly Spread[] | undefined)[]): string[] {
  const few = items.flatMap(({ label }, i) => {
    const rounds = spreads[i]?.[0]?.rounds ?? Infinity
    return rounds < 3 ? [`${label} (${rounds})`] : []
  })
  return few.length === 0 ? [] : [`fewer than 3 rounds, so that the spread says little: ${few.join(', ')}. More time: --seconds.`]
}

/** A phase is told once; the share of the budget each time. */
function announcer(progress: Progress, began: number, seconds: number): (label: string) => void {
  const told = new Set<string>()
  return (label) => {
    if (!told.has(label)) progress.phase(`timing ${label}`)
    told.add(label)
    progress.advance((now() - began) / seconds)
  }
}
