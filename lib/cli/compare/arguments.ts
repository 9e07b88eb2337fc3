import { type Command, Option } from 'commander'
import { computeDTypes } from '../../tensor/dtype'
import { parseBytes, parseCount, parseLengths, parseLoraRank, parseSeconds } from '../options'
import { defaultPreset, presetNames } from '../presets'

/** The options of `compare`; what they mean together is request.ts's. */
export function addCompareOptions(command: Command): Command {
  return command
    .addOption(new Option('--preset <name>', `a published layer shape (default: ${defaultPreset})`).choices(presetNames))
    .optionsGroup('Shape of your own, instead of a preset:')
    .option('--hidden <size>', 'hidden size', parseCount)
    .option('--heads <count>', 'query heads', parseCount)
    .option('--head-dim <width>', 'width of a head (default: hidden size / heads)', parseCount)
    .option('--layers <count>', "layers of the model (default: the preset's, or 1)", parseCount)
    .optionsGroup('Changes to the GQA and MLA layers:')
    .option('--kv-heads <count>', 'key and value heads of the GQA layer', parseCount)
    .option('--kv-lora-rank <rank>', 'latent features of MLA', parseCount)
    .option('--q-lora-rank <rank>', "rank of MLA's queries, or none", parseLoraRank)
    .option('--qk-nope-head-dim <width>', 'width of an MLA head without position', parseCount)
    .option('--qk-rope-head-dim <width>', 'width of an MLA head with position', parseCount)
    .option('--v-head-dim <width>', 'width of an MLA value head', parseCount)
    .optionsGroup('Use:')
    .addOption(new Option('--lengths <list>', 'context lengths to decode at').argParser(parseLengths).default([512, 2048, 8192], '512,2048,8192'))
    .option('--prefill <tokens>', 'length of the prefill', parseCount, 512)
    .option('--batch <count>', 'sequences at once', parseCount, 1)
    .addOption(new Option('--memory <size>', 'budget for the cache of the whole model').argParser(parseBytes).default(2 ** 33, '8GiB'))
    .addOption(new Option('--dtype <name>', 'of weights and cache').choices(computeDTypes).default('float32'))
    .optionsGroup('Measuring:')
    .option('--no-measure', 'costs alone; needs no native addon')
    .option('--device <id>', 'device to measure on', 'cpu')
    .option('--threads <count>', 'threads of the CPU device (default: all cores)', parseCount)
    .option('--rounds <count>', 'rounds per measurement, at most', parseCount, 20)
    .option('--seconds <budget>', 'time for all of it: what does not fit is left out and named', parseSeconds, 40)
    .option('--seed <number>', 'of the random weights and inputs', parseCount, 1)
    .optionsGroup('Output:')
    .option('--html <file>', 'also write a page with charts that needs no network')
}
