import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { native } from '../../lib/native'
import { bytesPerElement, dtypeCode, dtypes, hostArray } from '../../lib/tensor/dtype'

interface Row {
  readonly name: string
  readonly bytes: number
  readonly isFloat: boolean
}

function definedInC(): Row[] {
  const text = readFileSync(join(__dirname, '..', '..', 'native', 'core', 'dtype.def'), 'utf8')
  const rows = text.matchAll(/^ATTN_DTYPE\(\w+, "(\w+)", (\d+), (true|false)\)/gm)
  return Array.from(rows, ([, name, bytes, isFloat]) => ({ name: name!, bytes: Number(bytes), isFloat: isFloat === 'true' }))
}

describe('the list of element types', () => {
  it('is the same in dtype.def, in the addon and in TypeScript, in the same order', () => {
    const typescript = dtypes.map((name) => ({ name, bytes: bytesPerElement(name), isFloat: name !== 'int32' }))
    expect(typescript).toEqual(definedInC())
    expect(native.dtypes()).toEqual(definedInC())
    expect(dtypes.map(dtypeCode)).toEqual(dtypes.map((_, code) => code))
  })

  it('has host arrays as wide as the elements', () => {
    for (const dtype of dtypes) expect(hostArray(dtype, 3).byteLength).toBe(3 * bytesPerElement(dtype))
  })
})
