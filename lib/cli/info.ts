import type * as Devices from '../devices'
import type * as Native from '../native'
import { packageFacts } from './package-facts'
import { bytes, units as unitsText } from './report/format'
import { plainTable } from './report/plain-table'
import { colorsFor } from './style'

/** What this build can do on this machine. */
export function runInfo(options: { readonly json?: true }): void {
  // Loaded here and not at the top: `--help` and `build` work without an addon.
  const { devices } = require('../devices') as typeof Devices
  const { native } = require('../native') as typeof Native
  const cuda = devices.unavailableReason('cuda')
  const info = {
    package: packageFacts(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    devices: devices.list(),
    cuda: cuda === undefined ? { usable: true } : { usable: false, reason: cuda },
    kernels: native.kernels().map(kernelFacts),
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(info, null, 2)}\n`)
    return
  }
  const colors = colorsFor(process.stdout)
  const lines = [
    `${colors.bold(info.package.name)} ${info.package.version}, node ${info.node}, ${info.platform}`,
    '',
    colors.bold('Devices'),
    ...info.devices.map(deviceLine),
    ...(cuda === undefined ? [] : [`  cuda: not usable: ${cuda}`]),
    '',
    colors.bold('Kernels'),
    kernelTable(native.kernels(), colors),
    '',
  ]
  process.stdout.write(lines.join('\n'))
}

function kernelFacts({ name, op, device, arch, dtypes, headDims, unusable }: Native.NativeKernel) {
  return { name, op, device, arch, dtypes, headDims, usable: unusable === '', ...(unusable !== '' && { reason: unusable }) }
}

function deviceLine({ id, name, arch, units, freeMemory, totalMemory }: Devices.DeviceInfo): string {
  return `  ${id}: ${name}, ${arch}, ${unitsText(id, units)}, ${bytes(freeMemory)} of ${bytes(totalMemory)} free`
}

/** An op is named once, above its candidates in the order in which they are tried. */
function kernelTable(kernels: readonly Native.NativeKernel[], colors: ReturnType<typeof colorsFor>): string {
  const head = ['  op', 'kernel', 'device', 'dtypes', 'head dims', 'here'].map((title) => colors.cyan(title))
  const rows = kernels.map(({ op, name, device, dtypes, headDims, unusable }, i) => [
    op === kernels[i - 1]?.op ? '' : `  ${op}`, name, device, dtypes.join(' '), headDims, unusable === '' ? 'yes' : `no: ${unusable}`,
  ])
  return plainTable(head, rows, head.map(() => 'left'))
}
