import { checkInteger, checkOneOf, fail } from './check'
import { DeviceError, UnsupportedError } from './errors'
import { invoke, native, whenRun } from './native'

export type DeviceType = 'cpu' | 'cuda'
/** 'cuda' means 'cuda:0'. */
export type DeviceId = 'cpu' | 'cuda' | `cuda:${number}`

export interface DeviceInfo {
  readonly id: DeviceId
  readonly type: DeviceType
  /** Marketing name of the processor. */
  readonly name: string
  /** Instruction set in use: 'avx512' | 'avx2' | 'baseline'. */
  readonly arch: string
  /** Bytes. */
  readonly totalMemory: number
  /** Bytes. */
  readonly freeMemory: number
  /** Worker threads (CPU) or multiprocessors (CUDA). */
  readonly units: number
}

export interface DeviceMemory {
  /** Live allocations: a tensor and its views count once. */
  readonly tensors: number
  /** Bytes of live tensors, and of the workspace of an op while it runs. */
  readonly bytes: number
  /** The most that `bytes` has been in this process. */
  readonly peakBytes: number
}

const mostThreads = 1024

/**
 * A device id that exists here; throws ArgumentError for a malformed one, UnsupportedError for a device that no kernel runs on, DeviceError
 * (DEVICE_UNAVAILABLE) for one that cannot be used otherwise.
 */
export function checkDevice(argument: string, device: unknown): DeviceId {
  if (device === 'cpu') return device
  if (typeof device !== 'string' || !/^cuda(:\d{1,2})?$/.test(device)) fail(argument, "'cpu', 'cuda' or 'cuda:<n>'", device)
  const id: DeviceId = `cuda:${device === 'cuda' ? 0 : Number(device.slice(5))}`
  const reason = native.unavailableReason(id)
  if (reason !== '') {
    const message = `${device} cannot be used: ${reason}`
    if (native.unavailableCode(id) === 'UNSUPPORTED') throw new UnsupportedError(message, [])
    throw new DeviceError('DEVICE_UNAVAILABLE', device as DeviceId, message)
  }
  return id
}

/** Throws the failure of earlier work on a device, if its text is not empty. */
export function throwFailure(device: DeviceId, failure: string): void {
  if (failure === '') return
  const status = /CUDA_ERROR_\w+/.exec(failure)?.[0]
  throw new DeviceError(status === undefined ? 'INTERNAL' : 'CUDA', device, `${device}: enqueued work failed: ${failure}`, status)
}

/**
 * The devices of this machine and what the process does on them.
 *
 * @example
 * ```ts
 * devices.list()                            // [{ id: 'cpu', arch: 'avx2', units: 8, … }]
 * devices.unavailableReason('cuda')         // 'built without CUDA'
 * await devices.synchronize()               // all that was enqueued has run
 * devices.memory().bytes                    // bytes of live tensors
 * ```
 */
export const devices = {
  /** Every device that can be used here. Asking opens them all; get() opens one. */
  list(): readonly DeviceInfo[] {
    return invoke(() => native.devices()) as unknown as DeviceInfo[]
  },

  /** One device. Throws DeviceError (DEVICE_UNAVAILABLE) when it cannot be used, UnsupportedError when it is too old for every kernel. */
  get(id: DeviceId): DeviceInfo {
    const wanted = checkDevice('id', id)
    return invoke(() => native.device(wanted)) as unknown as DeviceInfo
  },

  /** Resolves when all work enqueued so far has run; rejects with the first DeviceError since the last synchronize. */
  async synchronize(id: DeviceId = 'cpu'): Promise<void> {
    const device = checkDevice('id', id)
    throwFailure(device, await whenRun(invoke(() => native.synchronize(device))))
  },

  /** Live tensors and bytes owned by this process on the device: what a leak test reads. */
  memory(id: DeviceId = 'cpu'): DeviceMemory {
    const device = checkDevice('id', id)
    return invoke(() => native.deviceMemory(device))
  },

  /** Threads the CPU device computes with, 1 to 1024, from the next op on; default is the number of available cores. Results do not depend on it. */
  setNumThreads(count: number): void {
    const threads = checkInteger('count', count, 1, mostThreads)
    invoke(() => {
      native.setNumThreads(threads)
    })
  },

  /** Why a kind of device cannot be used here, or undefined when it can: 'built without CUDA', … */
  unavailableReason(type: DeviceType): string | undefined {
    const reason = native.unavailableReason(checkOneOf('type', type, ['cpu', 'cuda']))
    return reason === '' ? undefined : reason
  },
}
