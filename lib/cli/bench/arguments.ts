import { Argument, type Command, Option } from 'commander'
import { computeDTypes } from '../../tensor/dtype'
import { parseBytes, parseCount, parseLengths, parseRatio, parseSeconds } from '../options'
import { defaultPreset, presetNames } from '../presets'
import { peerNames } from './peers/peer'
import { benchOps, cacheDTypes } from './request'

/** The options of `bench`; what they mean together is request.ts's. */
export function addBenchOptions(command: Command): Command {
  return command
    .addArgument(new Argument('[op...]', 'what to time (default: all)').choices(benchOps))
    .optionsGroup('Shape:')
    .addOption(new Option('--preset <name>', 'a published layer shape').choices(presetNames).default(defaultPreset))
    .option('--heads <count>', 'query heads', parseCount)
    .option('--kv-heads <count>', 'key and value heads of prefill, decode, paged and append', parseCount)
    .option('--head-dim <width>', 'width of query and key heads', parseCount)
    .option('--head-dim-vo <width>', 'width of value and output heads (default: the same)', parseCount)
    .addOption(new Option('--lengths <list>', 'tokens of each sequence (default: by op)').argParser(parseLengths))
    .option('--batch <count>', 'sequences at once', parseCount, 1)
    .option('--page-size <tokens>', 'tokens of a cache page (default: 16, and 64 for MLA)', parseCount)
    .option('--no-causal', 'prefills without a mask')
    .option('--cold', 'repeat each call in other memory, so that no cache holds its data')
    .addOption(new Option('--dtype <name>', 'of all tensors').choices(computeDTypes).default('float32'))
    .addOption(new Option('--cache-dtype <name>', 'of the caches of paged, mla-decode and append (default: that of all)').choices(cacheDTypes))
    .optionsGroup('Measuring:')
    .option('--device <id>', 'device to measure', 'cpu')
    .option('--threads <count>', 'threads of the CPU device (default: all cores)', parseCount)
    .option('--rounds <count>', 'rounds per case, at most', parseCount, 20)
    .option('--seconds <budget>', 'time for all of it: what does not fit is left out and named', parseSeconds, 40)
    .option('--peak-matmul <width>', "square matrices for a GPU's peak (default: 8192)", parseCount)
    .option('--peak-copy <size>', "bytes for a GPU's copy bandwidth (default: 1GiB)", parseBytes)
    .addOption(new Option('--peer <library>', 'time prefill and decode beside it: onnxruntime (onnxruntime-node) or torch (a python3)').choices(peerNames))
    .optionsGroup('Output:')
    .option('--html <file>', 'also write a page with charts that needs no network')
    .option('--save', 'also write bench/results/<machine>.json under the current folder')
    .option('--compare <file>', 'beside an earlier --json or --save of the same options')
    .option('--fail-below <ratio>', 'end with status 1 when a case has less than this share of its efficiency in --compare', parseRatio)
}

/** The options of `targets`, whose shapes are given. */
export function addTargetsOptions(command: Command): Command {
  return command
    .option('--device <id>', 'device to measure', 'cpu')
    .option('--threads <count>', 'threads of the CPU device (default: all cores)', parseCount)
    .option('--rounds <count>', 'rounds per case, at most', parseCount, 20)
    .option('--seconds <budget>', 'time for all of it, about', parseSeconds, 60)
    .addOption(new Option('--peer [library]', 'also a sweep of shapes beside onnxruntime (CPU), or prefills beside cuDNN by torch (GPU)').choices(peerNames))
    .option('--scale <divisor>', "divide the lengths of a GPU's targets: tries a slow device, and is never saved", parseCount, 1)
    .option('--unfused <program>', 'also the sweep of build/Release/attn_tests beside the unfused composition: a minute or two more')
    .option('--save', 'also write bench/results/<machine>-targets.json under the current folder')
}
