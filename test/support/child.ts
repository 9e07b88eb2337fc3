import { spawn } from 'node:child_process'
import { join } from 'node:path'

export const registerFile = join(__dirname, 'register.js')

export interface ChildResult {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
  readonly milliseconds: number
}

/** Runs a script of test/lifetime/children in a process of its own. */
export function runChild(
  script: string, args: readonly string[] = [], nodeOptions: readonly string[] = [], env: Readonly<Record<string, string>> = {},
): Promise<ChildResult> {
  const file = join(__dirname, '..', 'lifetime', 'children', script)
  const start = performance.now()
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeOptions, '-r', registerFile, file, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'], timeout: 50_000, env: { ...process.env, ...env },
    })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (data: Buffer) => (stdout += data.toString()))
    child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, stdout, stderr, milliseconds: performance.now() - start }))
  })
}

/** Runs a script that prints one line of JSON, and ends well. */
export async function childAnswer<T>(
  script: string, args: readonly string[] = [], nodeOptions: readonly string[] = [], env: Readonly<Record<string, string>> = {},
): Promise<T> {
  const { status, signal, stdout, stderr } = await runChild(script, args, nodeOptions, env)
  if (status !== 0) throw new Error(`${script} ended with status ${status}, signal ${signal}: ${stderr}`)
  return JSON.parse(stdout) as T
}
