import { describeValue } from '../check'
import { ArgumentError } from '../errors'
import type { NativePlan } from '../native'
import type { DeviceId } from '../devices'
import { fromHandle, type IndexTensor } from '../tensor/tensor'

/**
 * How the work of one batch shape is split, and by which kernel. Ops plan by themselves; a plan says beforehand what they will do at the
 * lengths of the batch it was made for, and given back to the op it makes sure that the shape is the planned one. Sequences may have
 * grown since: the op then splits by their present length. Where the kernel can, a plan also shares the keys among the device's processors by
 * those lengths, once for every layer that is given the plan; keys that came since go to each sequence's last piece.
 */
export interface AttentionPlan extends Disposable {
  readonly kernel: string
  readonly numSplits: number
  readonly workspaceBytes: number
  /** Idempotent; a disposed plan is refused by the ops. */
  dispose(): void
}

/** What must be equal between planning and calling, by the names of the API. */
export type PlannedShape = Readonly<Record<string, number | string>>

/** What the kernel laid down, as lib/native.ts has it. */
export interface PlannedSchedule {
  readonly words: IndexTensor
  readonly parts: number
  readonly pieces: number
}

interface PlanFacts {
  readonly op: string
  readonly shape: PlannedShape
  readonly schedule?: PlannedSchedule
}

// Kept outside the objects: a forged plan is not in here, and a disposed one is no longer.
const facts = new WeakMap<object, PlanFacts>()

export function makePlan(op: string, shape: PlannedShape, device: DeviceId, planned: NativePlan): AttentionPlan {
  const { kernel, numSplits, workspaceBytes, schedule, scheduleSize, parts, pieces } = planned
  const words = schedule === null ? undefined : fromHandle(schedule, 'int32', [scheduleSize], device)
  const plan: AttentionPlan = Object.freeze({
    kernel,
    numSplits,
    workspaceBytes,
    dispose: () => {
      words?.dispose()
      facts.set(plan, { op: '', shape: {} })
    },
    [Symbol.dispose]: () => plan.dispose(),
  })
  facts.set(plan, words === undefined ? { op, shape } : { op, shape, schedule: { words, parts, pieces } })
  return plan
}

/** The schedule of a plan that has one. Throws unless `value` is undefined or a live plan of this op for this shape. */
export function checkPlan(argument: string, value: unknown, op: string, shape: PlannedShape): PlannedSchedule | undefined {
  if (value === undefined) return undefined
  const planned = typeof value === 'object' && value !== null ? facts.get(value) : undefined
  if (planned === undefined) throw new ArgumentError(argument, `a plan made by ${op}.plan()`, describeValue(value))
  if (planned.op === '') throw new ArgumentError(argument, 'a live plan', 'a disposed one', 'DISPOSED')
  if (planned.op !== op) throw new ArgumentError(argument, `a plan made by ${op}.plan()`, `one made by ${planned.op}.plan()`)
  for (const [name, wanted] of Object.entries(shape)) {
    if (planned.shape[name] !== wanted) throw new ArgumentError(argument, `a plan for ${name} ${wanted}`, `one for ${name} ${planned.shape[name]}`)
  }
  return planned.schedule
}
