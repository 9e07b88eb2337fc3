import type { DeviceId } from './devices'

export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'SHAPE_MISMATCH'
  | 'DISPOSED'
  | 'UNSUPPORTED'
  | 'OUT_OF_PAGES'
  | 'OUT_OF_MEMORY'
  | 'DEVICE_UNAVAILABLE'
  | 'CUDA'
  | 'INVALID_FILE'
  | 'INTERNAL'

/** The base of every error that the package throws. */
export class AttentionError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.name = new.target.name
  }
}

/** An argument that the call cannot accept: `k: expected numKvHeads to divide numQoHeads (8), received 3`. Nothing was enqueued or changed. */
export class ArgumentError extends AttentionError {
  readonly argument: string
  readonly expected: string
  readonly received: string
  constructor(argument: string, expected: string, received: string, code: ErrorCode = 'INVALID_ARGUMENT') {
    super(code, `${argument}: expected ${expected}, received ${received}`)
    this.argument = argument
    this.expected = expected
    this.received = received
  }
}

/** The call is valid but no kernel of this build can do it here: why each candidate was turned down, none where the device itself is too old. */
export class UnsupportedError extends AttentionError {
  readonly rejected: readonly { readonly kernel: string; readonly reason: string }[]
  constructor(message: string, rejected: readonly { readonly kernel: string; readonly reason: string }[]) {
    super('UNSUPPORTED', message)
    this.rejected = rejected
  }
}

/** Memory or pages ran out. `requested` and `available` count bytes (OUT_OF_MEMORY) or pages (OUT_OF_PAGES). */
export class ResourceError extends AttentionError {
  readonly requested: number
  readonly available: number
  constructor(code: 'OUT_OF_MEMORY' | 'OUT_OF_PAGES', message: string, requested: number, available: number) {
    super(code, message)
    this.requested = requested
    this.available = available
  }
}

/** A device that cannot be used, or work on it that failed after it was enqueued. */
export class DeviceError extends AttentionError {
  readonly device: DeviceId
  /** CUDA's own name, e.g. CUDA_ERROR_ILLEGAL_ADDRESS. */
  readonly status?: string
  constructor(code: 'DEVICE_UNAVAILABLE' | 'CUDA' | 'INTERNAL', device: DeviceId, message: string, status?: string) {
    super(code, message)
    this.device = device
    if (status !== undefined) this.status = status
  }
}

/** A file that cannot be read as what it should be: missing, damaged, hostile or changed while open. `cause` holds the system's error where there is one. */
export class FileError extends AttentionError {
  readonly path: string
  constructor(path: string, problem: string, options?: ErrorOptions) {
    super('INVALID_FILE', `${path}: ${problem}`, options)
    this.path = path
  }
}
