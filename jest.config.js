'use strict'
module.exports = {
  // Named folders, so that jest never crawls build/, prebuilds/ or an unpacked copy of node_modules.
  roots: ['<rootDir>/lib', '<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  testTimeout: 120_000,
  // The virtual GPU's own tests compile it, which takes a CUDA toolkit and a minute: npm run test:cuda does.
  testPathIgnorePatterns: ['/node_modules/', ...(process.env.ATTN_VGPU ? [] : ['<rootDir>/test/vgpu/'])],
  transform: {
    '\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'commonjs' } }],
  },
}
