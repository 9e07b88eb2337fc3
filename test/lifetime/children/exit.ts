/** Ends with seconds of work still in the queue, in the way that the argument names. */
import { flashAttention, Tensor } from '../../../lib/index'

const way = process.argv[2] as 'end' | 'exit' | 'exit-reading' | 'exit-in-read' | 'throw' | 'signal'
const q = Tensor.randn([1, 2000, 8, 128], { seed: 1 })
const first = flashAttention(q, q, q, { causal: true }).out.read() // runs before all that follows
const outs = Array.from({ length: way === 'end' ? 3 : 60 }, () => flashAttention(q, q, q, { causal: true }).out)

switch (way) {
  case 'end':
    break // what was read is awaited by nobody: the process ends when it is there
  case 'exit':
    process.exit(3)
    break
  case 'exit-reading':
    for (const out of outs) void out.read()
    setTimeout(() => process.exit(3), 50)
    break
  case 'exit-in-read':
    void first.then(() => process.exit(3))
    break
  case 'throw':
    throw new Error('the caller failed')
  case 'signal':
    process.kill(process.pid, 'SIGTERM')
    break
}
