'use strict'
module.exports = {
  // Named folders, so that jest never crawls build/, prebuilds/ or an unpacked copy of node_modules.
  roots: ['<rootDir>/lib', '<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testTimeout: 120_000,
  transform: {
    '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } }],
  },
}
