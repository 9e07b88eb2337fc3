import { bytes, exact, seconds, times } from '../report/format'
import type { CompareReport, MechanismReport, Spread } from './report'
import { clearlyFaster } from './spread'

/** What a reading rests on: a report that has none yet. */
export type Unread = Omit<CompareReport, 'reading'>

/** A few sentences that follow from the numbers of a report and from nothing else. */
export function readReport(report: Unread): string[] {
  return [cache(report), memory(report), ...decode(report), ...growth(report), ...prefill(report), choice(report), limits(report)]
}

/** 'GQA' of 'GQA 32/8'. */
function label(mechanism: MechanismReport): string {
  return mechanism.id.toUpperCase()
}

function list(items: readonly string[]): string {
  return items.length < 2 ? (items[0] ?? '') : `${items.slice(0, -1).join(', ')} and ${items[items.length - 1] ?? ''}`
}

function cache({ mechanisms }: Unread): string {
  const least = smallestCache(mechanisms)
  const less = (other: MechanismReport) => `${times(other.kvBytesPerToken / least.kvBytesPerToken)} less than ${label(other)}`
  const others = mechanisms.filter((other) => other !== least).map(less)
  return `Cache: ${label(least)} keeps ${bytes(least.kvBytesPerToken)} per token and layer, ${list(others)}.`
}

function memory({ mechanisms, model, settings }: Unread): string {
  const holds = mechanisms.map((mechanism) => `${label(mechanism)} ${exact(mechanism.maxContext)}`)
  const each = settings.batch > 1 ? ` for each of ${settings.batch} sequences` : ''
  const layers = model.layers === 1 ? 'one layer' : `${model.layers} layers`
  const longest = Math.max(...settings.lengths)
  const tooLong = mechanisms.filter((mechanism) => mechanism.maxContext < longest).map(label)
  const verdict = tooLong.length === 0 ? `All hold the longest length asked for (${exact(longest)}).` : `Too little for ${exact(longest)}: ${list(tooLong)}.`
  return `Memory: ${bytes(settings.memoryBytes)} of cache over ${layers} holds, in tokens${each}: ${list(holds)}. ${verdict}`
}

/** At the shortest and the longest length measured: who is fastest, and against whom that is clear. */
function decode(report: Unread): string[] {
  const lengths = measuredLengths(report)
  return [...new Set([lengths[0], lengths[lengths.length - 1]])].flatMap((kvLen) => {
    if (kvLen === undefined) return []
    return [`Decode at ${exact(kvLen)} tokens: ${ranking(report.mechanisms, (mechanism) => decodeTime(mechanism, kvLen))}`]
  })
}

function prefill(report: Unread): string[] {
  if (report.mechanisms.some((mechanism) => mechanism.measured?.prefill === undefined)) return []
  return [`Prefill of ${exact(report.settings.prefill)} tokens: ${ranking(report.mechanisms, (mechanism) => mechanism.measured?.prefill)}`]
}

function ranking(mechanisms: readonly MechanismReport[], timeOf: (mechanism: MechanismReport) => Spread | undefined): string {
  const timed = mechanisms.flatMap((mechanism) => {
    const time = timeOf(mechanism)
    return time === undefined ? [] : [{ mechanism, time }]
  })
  timed.sort((a, b) => a.time.median - b.time.median)
  const [best, ...others] = timed
  if (best === undefined) return 'not measured.'
  const slower = others.filter((other) => clearlyFaster(best.time, other.time))
  const equal = others.filter((other) => !slower.includes(other))
  const lead = slower.map((other) => `${times(other.time.median / best.time.median)} as fast as ${label(other.mechanism)}`)
  const head = `${label(best.mechanism)} takes ${seconds(best.time.median)}`
  const against = lead.length > 0 ? `, ${list(lead)}` : ''
  const ties = equal.map((other) => `${label(other.mechanism)} (${seconds(other.time.median)})`)
  const tie = ties.length > 0 ? `; no clear difference to ${list(ties)}` : ''
  return `${head}${against}${tie}.`
}

const tooLittle = 'too little to tell'

/** What a longer context costs, from the two ends of the measured lengths. */
function growth(report: Unread): string[] {
  const lengths = measuredLengths(report)
  const [shortest] = lengths
  const longest = lengths[lengths.length - 1]
  if (shortest === undefined || longest === undefined || longest < 2 * shortest) return []
  const slopes = report.mechanisms.map((mechanism) => {
    const from = decodeTime(mechanism, shortest)
    const to = decodeTime(mechanism, longest)
    if (from === undefined || to === undefined || !clearlyFaster(from, to)) return `${label(mechanism)} ${tooLittle}`
    return `${label(mechanism)} ${seconds(((to.median - from.median) / (longest - shortest)) * 1000)}`
  })
  if (slopes.every((slope) => slope.endsWith(tooLittle))) return []
  return [`Growth: each further 1,000 tokens of context add to a decode step, on average between ${exact(shortest)} and ${exact(longest)}: ${list(slopes)}.`]
}

function choice(report: Unread): string {
  const { mechanisms, settings } = report
  const longest = Math.max(...settings.lengths)
  const fitting = mechanisms.filter((mechanism) => mechanism.maxContext >= longest)
  const wanted = `${exact(longest)} tokens in ${bytes(settings.memoryBytes)}`
  if (fitting.length === 0) {
    const nearest = smallestCache(mechanisms)
    return `Choice: none of the three holds ${wanted}; ${label(nearest)} comes nearest with ${exact(nearest.maxContext)}.`
  }
  const lengths = measuredLengths(report)
  const judged = lengths[lengths.length - 1]
  if (judged === undefined) {
    const least = smallestCache(fitting)
    return `Choice, by memory alone as nothing was measured: for ${wanted}, ${label(least)}, which leaves the most room.`
  }
  const timeOf = (mechanism: MechanismReport) => decodeTime(mechanism, judged)
  const fastest = fitting.reduce((best, other) => ((timeOf(other)?.median ?? Infinity) < (timeOf(best)?.median ?? Infinity) ? other : best))
  const bestTime = timeOf(fastest)
  const equal = fitting.filter((other) => {
    const time = timeOf(other)
    return other === fastest || (bestTime !== undefined && time !== undefined && !clearlyFaster(bestTime, time))
  })
  const chosen = smallestCache(equal)
  const tied = 'of those that fit and decode as fast as the fastest it keeps the smallest cache'
  const why = fitting.length === 1 ? 'it alone fits' : equal.length === 1 ? 'of those that fit it decodes fastest' : tied
  const caveat = judged < longest ? ` Speed was judged at ${exact(judged)} tokens.` : ''
  return `Choice: for ${wanted}, ${label(chosen)}: ${why}.${caveat}`
}

function limits({ machine }: Unread): string {
  if (machine === null) return 'Limits: costs are counted; nothing was measured, and nothing here says how well a model with any of the three works.'
  const speed = 'speed holds for this machine, these kernels and one layer without the rest of the model.'
  return `Limits: ${speed} The weights are random: nothing here says how well a model with any of the three works.`
}

function smallestCache(mechanisms: readonly MechanismReport[]): MechanismReport {
  return mechanisms.reduce((best, other) => (other.kvBytesPerToken < best.kvBytesPerToken ? other : best))
}

function decodeTime(mechanism: MechanismReport, kvLen: number): Spread | undefined {
  return mechanism.measured?.decode.find((entry) => entry.kvLen === kvLen)
}

/** Lengths at which all three were measured, ascending. */
function measuredLengths({ mechanisms }: Unread): number[] {
  const [first, ...rest] = mechanisms
  const lengths = first.measured?.decode.map((entry) => entry.kvLen) ?? []
  return lengths.filter((kvLen) => rest.every((mechanism) => decodeTime(mechanism, kvLen) !== undefined)).sort((a, b) => a - b)
}
