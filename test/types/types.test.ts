import { join } from 'node:path'
import ts from 'typescript'

const root = join(__dirname, '..', '..')

/** What the compiler says about one file and all that it imports; `source` stands in for a file that does not exist. */
function compile(file: string, source?: string): readonly string[] {
  const config = ts.getParsedCommandLineOfConfigFile(join(root, 'tsconfig.check.json'), {}, { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => {} })!
  const { tsBuildInfoFile: _, ...options } = config.options
  const host = ts.createCompilerHost({ ...options, incremental: false })
  const { readFile, fileExists } = host
  host.readFile = (path) => (path === file && source !== undefined ? source : readFile(path))
  host.fileExists = (path) => path === file || fileExists(path)
  const program = ts.createProgram([file], { ...options, incremental: false }, host)
  return ts.getPreEmitDiagnostics(program).map(({ file: where, start, messageText }) => {
    const line = where && start !== undefined ? where.getLineAndCharacterOfPosition(start).line + 1 : 0
    return `${where?.fileName.slice(root.length + 1) ?? ''}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
}

describe('the public types', () => {
  it('hold what test/types/api.types.ts says, and refuse what it expects to be refused', () => {
    expect(compile(join(__dirname, 'api.types.ts'))).toEqual([])
  })

  it('would be found wanting otherwise', () => {
    const source = "import { Tensor } from '../../lib/index'\nTensor.zeros('2, 3')\n// @ts-expect-error nothing is wrong here\nTensor.zeros([2, 3])\n"
    expect(compile(join(__dirname, 'wrong.types.ts'), source)).toEqual([
      expect.stringMatching(/^test\/types\/wrong\.types\.ts:2 Argument of type 'string'/),
      "test/types/wrong.types.ts:3 Unused '@ts-expect-error' directive.",
    ])
  })
})
