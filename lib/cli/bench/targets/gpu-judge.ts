import { seconds, short, spread } from '../../report/format'
import type { Measured } from '../measure'
import type { BenchMachine } from '../report'
import { computePeakOf, rateOf, roofline } from '../roofline'
import { percent } from '../rows'
import type { GpuTarget } from './gpu-list'
import type { CudnnTimes, TargetResult } from './report'

const tera = (rate: number) => `${short(rate / 1e12)} TFLOP/s`

/** Holds one measured GPU target against what it asks for; `beside` are the times beside cuDNN, or why there are none. */
export function judgedGpu({ name, settings, goal }: GpuTarget, measured: Measured, machine: BenchMachine, beside: CudnnTimes | string): TargetResult {
  const { kernels, time, flops, bytes } = measured
  const { peaks } = machine
  const [flopRate, byteRate] = [flops / time.median, bytes / time.median]
  const compute = computePeakOf(kernels, peaks)
  // Products of 8 bits come at twice the rate of those of 16, which is what was measured.
  const halves = settings.inputDType === 'float8_e4m3' ? 2 : 1
  const least = roofline(machine, { flops: flops / halves, bytes, compute, cold: settings.cold ?? false })
  const share = least.seconds / time.median
  return { name, kernels, time, flopRate, byteRate, bound: least.bound, compute, share, ...(halves === 2 && { twicePeak: true }), ...verdict() }

  function verdict(): Pick<TargetResult, 'target' | 'measured' | 'met' | 'cudnn'> {
    switch (goal.kind) {
      case 'cudnn': {
        const target = 'at least as fast as cuDNN by PyTorch'
        if (typeof beside === 'string') return { target, measured: `${tera(flopRate)}; ${beside}`, met: null, cudnn: beside }
        const { ratio, version } = beside
        const words = `${ratio.median.toFixed(2)}× ${spread(ratio)} as fast as PyTorch ${version}, ${tera(flopRate)}`
        return { target, measured: words, met: ratio.median >= 1, cudnn: beside }
      }
      case 'rate':
        return { target: `${tera(goal.least)}, ${goal.source}`, measured: tera(flopRate), met: flopRate >= goal.least }
      case 'copy': {
        const ofCopy = byteRate / rateOf(peaks, 'copy')
        return { target: `${percent(goal.least)} of the measured copy bandwidth`, measured: percent(ofCopy), met: ofCopy >= goal.least }
      }
      case 'time':
        return { target: `at most ${seconds(goal.most)}`, measured: seconds(time.median), met: time.median <= goal.most }
    }
  }
}
