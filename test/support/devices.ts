import { devices, type DeviceId } from '../../lib/index'

/** Every device that ops can run on here: each op test runs its cases on all of them. */
export const testDevices: readonly DeviceId[] = devices.list().map((device) => device.id)

export const computeDTypes = ['float32', 'float16', 'bfloat16'] as const
export type ComputeDType = (typeof computeDTypes)[number]

/** Each device with each dtype that ops compute with: rows for describe.each. */
export const devicesAndDTypes: readonly (readonly [DeviceId, ComputeDType])[] = testDevices.flatMap((device) =>
  computeDTypes.map((dtype) => [device, dtype] as const),
)
