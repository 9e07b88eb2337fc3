import { checkDevice } from '../devices'
import { CommandError } from './command-error'
import { packageFacts } from './package-facts'
import { plainTable } from './report/plain-table'
import { colorsFor } from './style'
import { type KernelResult, verifyKernels } from './verify/run'

/** Runs the kernels and prints a line for each and dtype. The exit status is 1 when one computes wrongly. */
export function runVerify(options: { readonly device: string; readonly op?: string; readonly json?: true }): void {
  const device = checkDevice('--device', options.device)
  const results = [...verifyKernels(device, options.op)]
  if (results.length === 0) throw new CommandError(`no kernel of this build has the op '${options.op ?? ''}'. Its kernels: npx node-flash-attention info`)
  const failed = results.filter((result) => result.status === 'failed')
  const elsewhere = results.filter((result) => result.status === 'not on this machine')
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ package: packageFacts(), ok: failed.length === 0, results }, jsonNumber, 2)}\n`)
  } else {
    const ok = results.length - failed.length - elsewhere.length
    const summary = `${ok} ok, ${failed.length} failed, ${elsewhere.length} not on this machine (kernel and dtype each)`
    process.stdout.write(`${table(results)}\n\n${failed.length === 0 ? summary : colorsFor(process.stdout).red(summary)}\n`)
  }
  if (failed.length > 0) process.exitCode = 1
}

function table(results: readonly KernelResult[]): string {
  const colors = colorsFor(process.stdout)
  const status = { ok: colors.green('ok'), failed: colors.red('FAILED'), 'not on this machine': colors.dim('not on this machine') } as const
  const rows = results.map((result) => [
    result.kernel,
    result.dtype,
    status[result.status],
    result.cases === 0 ? '' : String(result.cases),
    result.cases === 0 ? '' : result.maxError === 0 ? 'exact' : `${result.maxError.toExponential(1)} (${percent(result.share)} of bound)`,
    result.reason ?? '',
  ])
  const head = ['kernel', 'dtype', 'result', 'cases', 'largest error', ''].map((title) => colors.cyan(title))
  return plainTable(head, rows, ['left', 'left', 'left', 'right', 'left', 'left'])
}

function percent(share: number): string {
  return share > 0 && share < 0.01 ? '<1%' : `${Math.round(share * 100)}%`
}

/** JSON has no infinities: an error without measure is null. */
function jsonNumber(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value
}
