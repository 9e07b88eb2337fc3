import { exact } from '../report/format'
import type { CaseReport } from './report'

/** 'decode 8,192' */
export function caseLabel({ op, length }: Pick<CaseReport, 'op' | 'length'>): string {
  return `${op} ${exact(length)}`
}
