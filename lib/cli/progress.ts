import { Presets, SingleBar } from 'cli-progress'

/** Says on stderr what is going on: a bar on a terminal, a line per phase elsewhere. */
export interface Progress {
  phase(text: string): void
  /** Share of the time budget that is used. */
  advance(share: number): void
  stop(): void
}

export function startProgress(stream: NodeJS.WriteStream = process.stderr): Progress {
  return stream.isTTY ? bar(stream) : lines(stream)
}

function bar(stream: NodeJS.WriteStream): Progress {
  const bar = new SingleBar({ format: '{bar} {percentage}% {phase}', stream, hideCursor: true, clearOnComplete: true, barsize: 24 }, Presets.shades_classic)
  bar.start(100, 0, { phase: '' })
  return {
    phase: (text) => bar.update({ phase: text }),
    advance: (share) => bar.update(Math.min(100, Math.round(share * 100))),
    stop: () => {
      bar.stop()
    },
  }
}

function lines(stream: NodeJS.WriteStream): Progress {
  return { phase: (text) => void stream.write(`${text}\n`), advance: () => undefined, stop: () => undefined }
}

export const silent: Progress = { phase: () => undefined, advance: () => undefined, stop: () => undefined }
