import {
  ArgumentError, AttentionError, devices, type DeviceError, type ErrorCode, type ResourceError, type UnsupportedError,
} from '../../lib/index'
import { native } from '../../lib/native'

export interface ExpectedError {
  readonly type: typeof ArgumentError | typeof DeviceError | typeof ResourceError | typeof UnsupportedError | typeof AttentionError
  readonly code: ErrorCode
  readonly message: string
}

/** What a call threw; throws when it returned. */
export function thrownBy(call: () => unknown): unknown {
  let returned: unknown
  try {
    returned = call()
  } catch (error) {
    return error
  }
  throw new Error(`expected the call to throw, it returned ${String(returned)}`)
}

/** The call throws synchronously just this error, and leaves no tensor and no byte behind. */
export function expectError(call: () => unknown, { type, code, message }: ExpectedError): void {
  // Work that still runs holds memory, and lets go of it at any moment.
  native.synchronizeSync('cpu')
  const before = devices.memory()
  const error = thrownBy(call)
  native.synchronizeSync('cpu')
  const after = devices.memory()
  expect({ message: (error as Error).message, code: (error as AttentionError).code }).toEqual({ message, code })
  expect(error).toBeInstanceOf(type)
  expect(error).toBeInstanceOf(AttentionError)
  expect({ tensors: after.tensors, bytes: after.bytes }).toEqual({ tensors: before.tensors, bytes: before.bytes })
}

/** A row of an error table for ArgumentErrors: their message follows from argument, expected and received. */
export function argumentError(argument: string, expected: string, received: string, code: ErrorCode = 'INVALID_ARGUMENT'): ExpectedError {
  return { type: ArgumentError, code, message: `${argument}: expected ${expected}, received ${received}` }
}
