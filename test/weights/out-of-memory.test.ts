import { ResourceError, SafetensorsFile } from '../../lib/index'
import { followHandles } from '../support/file-handles'
import { rejectionOf, safetensorsFile, stored, temporaryFiles } from '../support/safetensors'

// As JavaScript reports that it has no room: a file that is too large for every machine would be too large for the test as well.
jest.mock('../../lib/tensor/dtype', () => ({
  ...jest.requireActual<object>('../../lib/tensor/dtype'),
  hostArray: () => {
    throw new RangeError('Array buffer allocation failed')
  },
}))
const write = temporaryFiles()

test('a tensor that memory has no room for', async () => {
  const handles = followHandles()
  const file = await SafetensorsFile.open(write('large.safetensors', safetensorsFile({ x: stored('float32', [2], [1, 2]) })))
  const error = await rejectionOf(file.load('x'))
  expect(error).toBeInstanceOf(ResourceError)
  expect(error).toMatchObject({ code: 'OUT_OF_MEMORY', message: `${file.path}: no memory for the 8 bytes of 'x'`, requested: 8 })
  file.close()
  expect(await handles.settledCount()).toBe(0)
})
