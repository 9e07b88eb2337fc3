import { type Item, timeInTurns } from '../../lib/cli/compare/schedule'
import { clearlyFaster, spreadOf } from '../../lib/cli/compare/spread'

/** A clock that only the work moves. */
function clockwork() {
  let time = 0
  const calls: string[] = []
  const work = (name: string, seconds: number) => () => {
    calls.push(name)
    time += seconds
    return Promise.resolve()
  }
  return { now: () => time, work, calls }
}
const silent = () => undefined

test('contestants take turns, each round begins with the next', async () => {
  const { now, work, calls } = clockwork()
  const item: Item = { label: 'item', runs: [work('a', 1), work('b', 1), work('c', 1)] }
  await timeInTurns([item], { rounds: 3, deadline: 1000, now, progress: silent })
  expect(calls.join('')).toBe('abc' + 'abc' + 'bca' + 'cab')
})

test('times are per call, also where short calls are repeated within a sample', async () => {
  const { now, work } = clockwork()
  const [timed] = await timeInTurns([{ label: 'item', runs: [work('a', 0.001), work('b', 0.002), work('c', 2)] }], { rounds: 4, deadline: 1000, now, progress: silent })
  const medians = timed !== undefined && 'spreads' in timed ? timed.spreads.map((spread) => [Number(spread.median.toFixed(9)), spread.rounds]) : []
  expect(medians).toEqual([[0.001, 4], [0.002, 4], [2, 4]])
})

test('every item has a round before any has its second, and no round begins that does not fit', async () => {
  const { now, work, calls } = clockwork()
  const items = [{ label: 'short', runs: [work('s', 1)] }, { label: 'long', runs: [work('L', 10)] }]
  const timed = await timeInTurns(items, { rounds: 5, deadline: 30, now, progress: silent })
  expect(calls.join('')).toBe('ss' + 'LL' + 'ssss')
  expect(timed.map((entry) => ('spreads' in entry ? entry.spreads[0]?.rounds : entry.leftOut))).toEqual([5, 1])
  expect(now()).toBeLessThanOrEqual(30)
})

test('what cannot be measured in time is left out with the reason', async () => {
  const { now, work, calls } = clockwork()
  const items: Item[] = [
    { label: 'first', runs: [work('f', 1)] },
    { label: 'probed', runs: [work('p', 50), work('p', 50)], probe: { run: work('probe', 5), factor: 10 } },
    { label: 'slow', runs: [work('w', 40)] },
    { label: 'late', runs: [work('l', 1)] },
  ]
  const timed = await timeInTurns(items, { rounds: 1, deadline: 30, now, progress: silent })
  expect(timed.map((entry) => ('leftOut' in entry ? entry.leftOut : 'measured'))).toEqual([
    'measured', 'would take about 200 s', 'no time was left for a round', 'no time was left',
  ])
  expect(calls).not.toContain('p')
})

test('quartiles between the sorted samples', () => {
  expect(spreadOf([4, 1, 3, 2, 5])).toEqual({ median: 3, lower: 2, upper: 4, min: 1, max: 5, rounds: 5 })
  expect(spreadOf([2, 1])).toEqual({ median: 1.5, lower: 1.25, upper: 1.75, min: 1, max: 2, rounds: 2 })
  expect(spreadOf([7])).toEqual({ median: 7, lower: 7, upper: 7, min: 7, max: 7, rounds: 1 })
})

test('faster is only what is clearly so', () => {
  const times = (...samples: number[]) => spreadOf(samples)
  expect(clearlyFaster(times(1, 1, 1), times(2, 2, 2))).toBe(true)
  expect(clearlyFaster(times(2, 2, 2), times(1, 1, 1))).toBe(false)
  expect(clearlyFaster(times(1, 1, 9), times(2, 2, 2))).toBe(false)
  expect(clearlyFaster(times(1, 1, 1), times(1.04, 1.04, 1.04))).toBe(false)
  expect(clearlyFaster(times(1, 1), times(2, 2))).toBe(false)
})
