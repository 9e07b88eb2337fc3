'use strict'
// For child processes and worker threads: `node -r` this, and require() runs the TypeScript sources as jest does.
const { transformFileSync } = require('@swc/core')

require.extensions['.ts'] = (module, filename) => {
  const { code } = transformFileSync(filename, {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' }, sourceMaps: 'inline', swcrc: false,
  })
  module._compile(code, filename)
}
