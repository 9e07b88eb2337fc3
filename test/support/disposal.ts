/** Tensors of one test, disposed after it: what a test leaves to the collector would disturb the memory counts of the next. */
const made: Disposable[] = []

export function disposeLater<T extends Disposable>(item: T): T {
  made.push(item)
  return item
}

afterEach(() => {
  for (const item of made.splice(0)) item[Symbol.dispose]()
})
