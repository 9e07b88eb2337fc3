'use strict'
const js = require('@eslint/js')
const tseslint = require('typescript-eslint')

/** The house's writing: no semicolons, single quotes, two spaces. */
const writing = {
  'eol-last': 'error',
  'max-len': ['error', { code: 160 }],
  'no-multiple-empty-lines': ['error', { max: 1, maxEOF: 0 }],
  'no-tabs': 'error',
  'no-trailing-spaces': 'error',
  quotes: ['error', 'single', { avoidEscape: true, allowTemplateLiterals: true }],
  semi: ['error', 'never'],
}

const correctness = {
  eqeqeq: 'error',
  'no-console': 'error',
  'object-shorthand': 'error',
  'prefer-const': 'error',
}

module.exports = tseslint.config(
  { ignores: ['build/', 'dist/', 'docs/api/', 'prebuilds/', 'coverage/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.js'],
    extends: [js.configs.recommended],
    languageOptions: {
      sourceType: 'commonjs',
      globals: Object.fromEntries(
        ['require', 'module', 'process', 'console', 'setTimeout', 'clearTimeout', '__dirname', 'Buffer'].map((name) => [name, 'readonly']),
      ),
    },
    rules: { ...writing, ...correctness, 'no-console': 'off' },
  },
  {
    files: ['**/*.{ts,mts}'],
    extends: [js.configs.recommended, tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.check.json', tsconfigRootDir: __dirname } },
    rules: {
      ...writing,
      ...correctness,
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^_', argsIgnorePattern: '^_' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers in texts are what the error messages are made of.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // Indices are checked by the loops around them: noUncheckedIndexedAccess makes `!` the honest way to say so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // The addon and optional files are loaded by require, when and where they are needed.
      '@typescript-eslint/no-require-imports': 'off',
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // JavaScript callers pass anything: checks that the types call unnecessary are what stands between them and the addon.
      '@typescript-eslint/no-unnecessary-condition': 'off',
    },
  },
  // HTML and style sheets in template strings.
  { files: ['lib/cli/report/**/*.ts'], rules: { 'max-len': ['error', { code: 160, ignoreTemplateLiterals: true, ignoreStrings: true }] } },
  { files: ['lib/cli/**/*.ts', 'examples/**/*.mts'], rules: { 'no-console': 'off' } },
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-len': ['error', { code: 180, ignorePattern: '^ +\\[' }], // rows of case tables
      // Tests hand over wrong values on purpose.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/ban-ts-comment': 'off',
      '@typescript-eslint/unbound-method': 'off',
      'no-console': 'off',
    },
  },
)
