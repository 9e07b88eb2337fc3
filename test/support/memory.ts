import v8 from 'node:v8'
import vm from 'node:vm'
import { devices, type DeviceId } from '../../lib/index'

v8.setFlagsFromString('--expose-gc')
const collectGarbage = vm.runInNewContext('gc') as () => void

/**
 * What the device holds once its queue has run and the garbage of earlier tests is gone: a tensor that nobody disposed would otherwise be finalized
 * at some await of the test that counts. Finalizers run from the event loop, hence the turns.
 */
export async function settledMemory(device: DeviceId = 'cpu'): Promise<{ readonly tensors: number; readonly bytes: number }> {
  await devices.synchronize(device)
  for (let turn = 0; turn < 2; ++turn) {
    collectGarbage()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { tensors, bytes } = devices.memory(device)
  return { tensors, bytes }
}
