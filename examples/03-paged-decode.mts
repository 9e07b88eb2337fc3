// Decoding from a paged cache: sequences of any length share a pool of pages, and a fork shares the pages so far.
import { pagedAttention, PagedKvCache, Tensor, type Sequence } from 'node-flash-attention'

const [numQoHeads, numKvHeads, headDim] = [8, 2, 64]
using cache = new PagedKvCache({ numPages: 64, pageSize: 16, numKvHeads, headDimQk: headDim, dtype: 'bfloat16' })

let seed = 0
const random = (...shape: number[]): Tensor<'bfloat16'> => Tensor.randn(shape, { dtype: 'bfloat16', seed: ++seed })

// One step appends new keys and values, then attends from the newest tokens to all that each sequence holds.
function step(sequences: readonly Sequence[], newLen: number): Tensor {
  const batch = sequences.length
  cache.append(sequences, random(batch, newLen, numKvHeads, headDim), random(batch, newLen, numKvHeads, headDim))
  using pages = cache.batch(sequences)
  return pagedAttention(random(batch, newLen, numQoHeads, headDim), cache, pages).out
}

const prompt = cache.open()
console.log('prefill', step([prompt], 40).shape, 'pages', prompt.pages.length)

// Two continuations of one prompt: only the page that both go on writing to is copied.
const sequences = [prompt, prompt.fork()]
for (let i = 0; i < 3; ++i) console.log('decode', step(sequences, 1).shape, 'lengths', sequences.map((sequence) => sequence.length))

console.log('pages in use', cache.stats.numPages - cache.stats.freePages, 'of', cache.stats.numPages)
for (const sequence of sequences) sequence.close()
console.log('after closing', cache.stats.numPages - cache.stats.freePages)
