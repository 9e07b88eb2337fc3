import { appendCase, decodeCase, pagedCase, prefillCase } from './attention-cases'
import type { BenchCase } from './case'
import { mlaDecodeCase, mlaPrefillCase } from './mla-cases'
import { mlaLinearCase, mlaStepCase } from './mla-step'
import type { BenchOp, CaseSettings } from './request'
import { linearCase, mergeCase, normCase, quantizeCase, ropeCase } from './small-op-cases'

/** THE table of what can be timed. */
export const caseOf: Readonly<Record<BenchOp, (settings: CaseSettings, length: number) => BenchCase>> = {
  prefill: prefillCase, decode: decodeCase, paged: pagedCase, 'mla-decode': mlaDecodeCase, 'mla-prefill': mlaPrefillCase,
  'mla-step': mlaStepCase, 'mla-linear': mlaLinearCase,
  rope: ropeCase, norm: normCase, linear: linearCase, merge: mergeCase, append: appendCase, quantize: quantizeCase,
}
