import { describeValue } from '../check'
import { ArgumentError } from '../errors'
import type { NativePlan } from '../native'

/**
 * How the work of one batch shape is split, and by which kernel. Ops plan by themselves; a plan says beforehand what they will do at the
 * lengths of the batch it was made for, and given back to the op it makes sure that the shape is the planned one. Sequences may have
 * grown since: the op then splits by their present length.
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

interface PlanFacts {
  readonly op: string
  readonly shape: PlannedShape
}

// Kept outside the objects: a forged plan is not in here, and a disposed one is no longer.
const facts = new WeakMap<object, PlanFacts>()

export function makePlan(op: string, shape: PlannedShape, { kernel, numSplits, workspaceBytes }: NativePlan): AttentionPlan {
  const plan: AttentionPlan = Object.freeze({
    kernel,
    numSplits,
    workspaceBytes,
    dispose: () => void facts.set(plan, { op: '', shape: {} }),
    [Symbol.dispose]: () => plan.dispose(),
  })
  facts.set(plan, { op, shape })
  return plan
}

/** Throws unless `value` is undefined or a live plan of this op for this shape. */
export function checkPlan(argument: string, value: unknown, op: string, shape: PlannedShape): void {
  if (value === undefined) return
  const planned = typeof value === 'object' && value !== null ? facts.get(value) : undefined
  if (planned === undefined) throw new ArgumentError(argument, `a plan made by ${op}.plan()`, describeValue(value))
  if (planned.op === '') throw new ArgumentError(argument, 'a live plan', 'a disposed one', 'DISPOSED')
  if (planned.op !== op) throw new ArgumentError(argument, `a plan made by ${op}.plan()`, `one made by ${planned.op}.plan()`)
  for (const [name, wanted] of Object.entries(shape)) {
    if (planned.shape[name] !== wanted) throw new ArgumentError(argument, `a plan for ${name} ${wanted}`, `one for ${name} ${planned.shape[name]}`)
  }
}
