import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { FileError } from '../errors'

/** Bytes of one read: bounds how long one load holds a thread of the pool that all file work shares. */
const chunkBytes = 32 * 1024 * 1024

/** What tells a file that was changed in place: its size, and its time of modification in nanoseconds. */
export interface FileStamp {
  readonly bytes: number
  readonly modified: bigint
}

export async function openForReading(path: string): Promise<FileHandle> {
  try {
    // Without O_NONBLOCK (absent on Windows), opening a pipe waits for a writer and holds a thread for good.
    return await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** Throws FileError for what is not a regular file. */
export async function stampOf(path: string, handle: FileHandle): Promise<FileStamp> {
  const stat = await handle.stat({ bigint: true }).catch((error: unknown) => {
    throw unreadable(path, error)
  })
  if (!stat.isFile()) {
    throw new FileError(path, `expected a regular file, received ${stat.isDirectory() ? 'a directory' : 'a device, pipe or socket'}`)
  }
  return { bytes: Number(stat.size), modified: stat.mtimeNs }
}

/** Fills `into` from byte `position` of the file on; FileError when the file ends before. */
export async function readFully(path: string, handle: FileHandle, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const length = Math.min(chunkBytes, into.length - done)
    const { bytesRead } = await handle.read(into, done, length, position + done).catch((error: unknown) => {
      throw unreadable(path, error)
    })
    if (bytesRead === 0) {
      throw new FileError(path, `expected ${into.length} bytes at ${position}, received ${done}: the file was truncated after it was opened`)
    }
    done += bytesRead
  }
}

/** Nothing was written, so a failing close loses nothing. */
export async function closeQuietly(handle: FileHandle): Promise<void> {
  await handle.close().catch(() => undefined)
}

/** The system's text without the call and path that Node.js appends: 'ENOENT: no such file or directory'. */
function unreadable(path: string, error: unknown): FileError {
  const text = String((error as { readonly message?: unknown }).message).replace(/,.*$/s, '')
  return new FileError(path, `expected a readable file, received ${text}`, { cause: error })
}
