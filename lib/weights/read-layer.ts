import type { DeviceId } from '../devices'
import type { FloatDType } from '../tensor/dtype'
import type { FloatTensor } from '../tensor/tensor'
import { applyBlockScales } from './block-scales'
import { fuseRows, type RowBlock } from './fuse-rows'
import { toTensor, widen, type HostTensor } from './host-tensor'
import type { LayerPlan, PlannedPart, PlannedWeight } from './layer-plan'
import type { SafetensorsFile } from './safetensors-file'

/**
 * Reads what the plan lists, one weight after the other, so that the host holds one at a time. Parts of equal dtype are fused as bits;
 * parts of different dtypes, and fp8 codes with their block scales, become float32. After an error nothing stays allocated.
 */
export async function readLayer<K extends string>(
  plan: LayerPlan<K>, device: DeviceId, dtype: FloatDType | undefined,
): Promise<Partial<Record<K, FloatTensor>>> {
  const loaded: Partial<Record<K, FloatTensor>> = {}
  try {
    for (const weight of plan.weights) loaded[weight.target] = toTensor(await readWeight(plan.file, weight), device, dtype)
  } catch (error) {
    for (const tensor of Object.values<FloatTensor | undefined>(loaded)) tensor?.dispose()
    throw error
  }
  return loaded
}

async function readWeight<K extends string>(file: SafetensorsFile, { parts, groups, shape }: PlannedWeight<K>): Promise<HostTensor> {
  const hosts: HostTensor[] = []
  for (const part of parts) hosts.push(await readPart(file, part))
  const dtypes = new Set(hosts.map(({ dtype }) => dtype))
  const [dtype = 'float32'] = dtypes.size === 1 ? dtypes : []
  const blocks: RowBlock[] = []
  for (const [i, host] of hosts.entries()) {
    blocks.push({ bits: dtypes.size === 1 ? host.bits : await widen(host), rowsPerGroup: parts[i]?.rowsPerGroup ?? 0 })
  }
  return { dtype, shape, bits: fuseRows(blocks, groups, shape[1] ?? 1) }
}

async function readPart(file: SafetensorsFile, { name, scales }: PlannedPart): Promise<HostTensor> {
  const host = await file.readBits(name)
  if (scales === undefined) return host
  const values = await widen(host)
  applyBlockScales(values, host.shape, await widen(await file.readBits(scales)))
  return { dtype: 'float32', shape: host.shape, bits: values }
}
