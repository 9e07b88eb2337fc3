import fsPromises from 'node:fs/promises'

export interface HandleLog {
  /** Every read, in the order of the calls. */
  readonly reads: { readonly length: number; readonly position: number }[]
  /** Handles opened and not closed yet. */
  openCount(): number
  /** The same, once all are closed or two seconds have passed: close() gives a descriptor back without being awaited. */
  settledCount(): Promise<number>
}

/** Follows every file handle that node:fs/promises opens until the end of the test. */
export function followHandles(): HandleLog {
  const handles: fsPromises.FileHandle[] = []
  const reads: { length: number; position: number }[] = []
  const open = fsPromises.open
  jest.spyOn(fsPromises, 'open').mockImplementation(async (...args) => {
    const handle = await open(...args)
    handles.push(handle)
    const read = handle.read.bind(handle) as (into: Uint8Array, offset: number, length: number, position: number) => Promise<unknown>
    Object.defineProperty(handle, 'read', {
      value: (into: Uint8Array, offset: number, length: number, position: number) => {
        reads.push({ length, position })
        return read(into, offset, length, position)
      },
    })
    return handle
  })
  const openCount = (): number => handles.filter((handle) => handle.fd !== -1).length
  const settledCount = async (): Promise<number> => {
    for (const end = Date.now() + 2000; openCount() > 0 && Date.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 1))
    return openCount()
  }
  return { reads, openCount, settledCount }
}
