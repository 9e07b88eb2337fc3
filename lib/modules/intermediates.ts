/** Keeps something for the length of a pass, and returns it. */
export type Keep = <T extends { dispose(): void }>(item: T) => T

/**
 * Runs one pass; the tensors that it keeps are let go at its end, also when it throws. Their queued work holds the memory for as long as
 * it needs, so that this is early enough: only the enqueueing lies in between.
 */
export function withIntermediates<R>(pass: (keep: Keep) => R): R {
  const kept: { dispose(): void }[] = []
  try {
    return pass((item) => {
      kept.push(item)
      return item
    })
  } finally {
    for (const item of kept) item.dispose()
  }
}

/** Runs what follows an append, and takes the append back should it throw. */
export function undoOnError<R>(undo: () => void, rest: () => R): R {
  try {
    return rest()
  } catch (error) {
    undo()
    throw error
  }
}
