import { devices, type DeviceId } from '../../lib/index'

/**
 * Every device that ops can run on here: each op test runs its cases on all of them. ATTN_TEST_DEVICES=cuda:0 runs them on that one alone;
 * a device that is not there is an error, not a test left out.
 */
export const testDevices: readonly DeviceId[] =
  process.env['ATTN_TEST_DEVICES']?.split(',').map((id) => devices.get(id as DeviceId).id) ?? devices.list().map((device) => device.id)

export const computeDTypes = ['float32', 'float16', 'bfloat16'] as const
export type ComputeDType = (typeof computeDTypes)[number]

/** Each device with each dtype that ops compute with: rows for describe.each. */
export const devicesAndDTypes: readonly (readonly [DeviceId, ComputeDType])[] = testDevices.flatMap((device) =>
  computeDTypes.map((dtype) => [device, dtype] as const),
)
