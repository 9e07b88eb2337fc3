// One prefill by the kernel that is named, and what is thrown where it refuses.
import { devices, flashAttention, Tensor } from '../../../lib/index'
import { native } from '../../../lib/native'

devices.get('cuda')
const q = Tensor.randn([1, 200, 2, 128], { seed: 1, dtype: 'float16', device: 'cuda' })
native.forceKernel(process.argv[2] ?? '')
try {
  flashAttention(q, q, q)
  process.stdout.write('it ran\n')
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`)
}
