import type { Spread } from './report'
import { spreadOf } from './spread'

/** One thing to time for each of several contestants, which take turns within a round. */
export interface Item {
  readonly label: string
  /** Runs once and comes back when the work is done. */
  readonly runs: readonly (() => Promise<void>)[]
  /** A cheaper run of the slowest contestant, and how much more the real one takes: guards the budget against a single long call. */
  readonly probe?: { readonly run: () => Promise<void>; readonly factor: number }
}
export interface Budget {
  /** Rounds per item at most. */
  readonly rounds: number
  /** When to stop, in the clock's seconds. */
  readonly deadline: number
  readonly now: () => number
  readonly progress: (label: string) => void
}
/** By item, then by contestant; `left out` says why an item has no times. */
export type Timed = { readonly spreads: readonly Spread[] } | { readonly leftOut: string }

/** Calls shorter than this are repeated within a sample: the clock and a scheduler's tick would show otherwise. */
const minSampleSeconds = 0.005
const maxRepeats = 1000

interface State {
  readonly item: Item
  readonly samples: number[][]
  repeats: number[]
  roundSeconds: number
  rounds: number
}

/**
 * Warms every item up and gives it a round, then goes on with the item that has had the fewest rounds and still fits into the time left,
 * until all have their rounds or nothing fits. Contestants take turns in a rotating order: a machine that slows down slows all of them.
 */
export async function timeInTurns(items: readonly Item[], budget: Budget): Promise<Timed[]> {
  const states: (State | string)[] = []
  for (const item of items) {
    const state = await warmUp(item, budget)
    // At once and not after all are warm: should the time run out, the first items have their numbers.
    if (typeof state !== 'string' && budget.now() < budget.deadline) await round(state, budget)
    states.push(state)
  }
  const live = states.filter((state): state is State => typeof state !== 'string')
  for (;;) {
    const left = budget.deadline - budget.now()
    const next = live.filter((state) => state.rounds < budget.rounds && state.roundSeconds <= left).sort((a, b) => a.rounds - b.rounds)[0]
    if (next === undefined) break
    await round(next, budget)
  }
  return states.map((state) => {
    if (typeof state === 'string') return { leftOut: state }
    return state.rounds === 0 ? { leftOut: 'no time was left for a round' } : { spreads: state.samples.map(spreadOf) }
  })
}

async function warmUp(item: Item, { now, deadline, progress }: Budget): Promise<State | string> {
  progress(item.label)
  if (item.probe) {
    const expected = (await clocked(item.probe.run, now)) * item.probe.factor * item.runs.length * 2
    if (now() + expected > deadline) return `would take about ${Math.ceil(expected)} s`
  }
  if (now() > deadline) return 'no time was left'
  const state: State = { item, samples: item.runs.map(() => []), repeats: [], roundSeconds: 0, rounds: 0 }
  for (const run of item.runs) {
    // The second call is the estimate where it is cheap: the first one pays for memory and code that nobody touched yet.
    const first = await clocked(run, now)
    const seconds = first < minSampleSeconds ? await clocked(run, now) : first
    const repeats = Math.min(maxRepeats, Math.max(1, Math.ceil(minSampleSeconds / Math.max(seconds, 1e-6))))
    state.repeats.push(repeats)
    state.roundSeconds += seconds * repeats
  }
  return state
}

async function round(state: State, { now, progress }: Budget): Promise<void> {
  progress(state.item.label)
  const count = state.item.runs.length
  const began = now()
  for (let turn = 0; turn < count; ++turn) {
    const i = (turn + state.rounds) % count
    const [run, repeats, samples] = [state.item.runs[i], state.repeats[i], state.samples[i]]
    if (run === undefined || repeats === undefined || samples === undefined) continue
    const seconds = await clocked(async () => {
      for (let call = 0; call < repeats; ++call) await run()
    }, now)
    samples.push(seconds / repeats)
  }
  state.roundSeconds = now() - began
  ++state.rounds
}

async function clocked(run: () => Promise<void>, now: () => number): Promise<number> {
  const began = now()
  await run()
  return now() - began
}
