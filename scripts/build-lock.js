'use strict'
// One build at a time in a folder: `npm test` in two terminals, or a test that builds beside a person who builds.
const fs = require('node:fs')
const path = require('node:path')

const pollMs = 200
/** A lock file without a process number is being written, or its writer died in between: it is old after so long. */
const emptyLockMs = 5000

/** Waits until no other process holds `folder`; resolves to the function that lets go of it. */
async function lockFolder(folder) {
  fs.mkdirSync(folder, { recursive: true })
  const file = path.join(folder, '.lock')
  for (let waited = false; !take(file); waited = true) {
    if (!waited) console.log('node-flash-attention: waiting for another build')
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
  const release = () => fs.rmSync(file, { force: true })
  process.once('exit', release)
  const interrupted = () => process.exit(130)
  process.once('SIGINT', interrupted)
  process.once('SIGTERM', interrupted)
  return () => {
    release()
    process.off('exit', release)
    process.off('SIGINT', interrupted)
    process.off('SIGTERM', interrupted)
  }
}

function take(file) {
  try {
    fs.writeFileSync(file, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
  if (isStale(file)) takeOver(file)
  return false
}

function isStale(file) {
  try {
    const holder = fs.readFileSync(file, 'utf8')
    if (holder === '') return Date.now() - fs.statSync(file).mtimeMs > emptyLockMs
    return !isAlive(Number(holder))
  } catch (error) {
    if (error.code === 'ENOENT') return false
    throw error
  }
}

/** Removes a dead holder's file. Renaming comes first, since of several waiters only one can rename. */
function takeOver(file) {
  const aside = `${file}.${process.pid}`
  try {
    fs.renameSync(file, aside)
    // Between the look and the renaming another waiter may have taken the lock: it gets its file back.
    if (isStale(aside)) fs.rmSync(aside)
    else fs.renameSync(aside, file)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

function isAlive(pid) {
  if (pid === process.pid) return false // left by an earlier process of this number: we hold no lock yet
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

module.exports = { lockFolder }
