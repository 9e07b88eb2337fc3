import { execFileSync } from 'node:child_process'
import { join } from 'node:path'

// The addon must load wherever Node's official Linux binaries do, so it may ask for no more than they ask for.
const limits: Record<string, string> = { GLIBC: '2.28', GLIBCXX: '3.4.21', CXXABI: '1.3.9' }
const libraries = [
  'libstdc++.so.6', 'libm.so.6', 'libgcc_s.so.1', 'libc.so.6', 'libdl.so.2', 'libpthread.so.0', 'ld-linux-x86-64.so.2', 'ld-linux-aarch64.so.1',
]

const addon = join(__dirname, '..', '..', 'build', 'Release', 'attn.node')
const onLinux = process.platform === 'linux' ? describe : describe.skip // the others have no symbol versions

onLinux('the built addon', () => {
  test('needs no symbol version newer than Node does', () => {
    const asked = [...objdump('-T').matchAll(/\b(GLIBC|GLIBCXX|CXXABI)_(\d+(?:\.\d+)*)/g)]
    expect(asked.length).toBeGreaterThan(0)
    const tooNew = asked.filter(([, name, version]) => isNewer(version!, limits[name!]!)).map(([text]) => text)
    expect([...new Set(tooNew)]).toEqual([])
  })

  test('needs no library that Node does not bring', () => {
    const needed = [...objdump('-p').matchAll(/NEEDED\s+(\S+)/g)].map(([, name]) => name!)
    expect(needed).toContain('libc.so.6')
    expect(needed.filter((name) => !libraries.includes(name))).toEqual([])
  })

  test('exports nothing but what Node looks up', () => {
    const exported = objdump('-T').split('\n').filter((line) => / g +DF /.test(line) && !line.includes('*UND*')).map((line) => line.split(/\s+/).at(-1))
    expect(exported.filter((name) => !/^(napi_register_module_v1|node_api_module_get_api_version_v1)$/.test(name ?? ''))).toEqual([])
  })
})

function objdump(flag: string): string {
  return execFileSync('objdump', [flag, addon], { encoding: 'utf8', maxBuffer: 1 << 26 })
}

function isNewer(version: string, limit: string): boolean {
  const [a, b] = [version, limit].map((text) => text.split('.').map(Number))
  for (let i = 0; i < Math.max(a!.length, b!.length); ++i) {
    const difference = (a![i] ?? 0) - (b![i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return false
}
