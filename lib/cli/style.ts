import { createColors } from 'picocolors'

/** Colours for a stream: none when NO_COLOR is set or nobody looks at it (a pipe, a file), unless FORCE_COLOR asks for them. */
export function colorsFor(stream: { readonly isTTY?: boolean }): ReturnType<typeof createColors> {
  const env = process.env
  const forced = env['FORCE_COLOR'] !== undefined && env['FORCE_COLOR'] !== '' && env['FORCE_COLOR'] !== '0'
  const wanted = forced || (stream.isTTY === true && env['TERM'] !== 'dumb')
  return createColors(wanted && (env['NO_COLOR'] ?? '') === '')
}
