// Rules of asynchronous instructions that no sample kernel has a place for: each program of tests/async_rules.cpp breaks one, and gives no finding when it keeps it.
import { buildVirtualGpu, findNvcc } from './samples'
import { expectFoundUnlessKept } from './sample-tests'

const suite = findNvcc() === undefined ? describe.skip : describe

suite('rules', () => {
  beforeAll(buildVirtualGpu, 300_000)

  test.each([
    ['late_wait', 'mbarrier misuse'],
    ['old_state', 'mbarrier misuse'],
    ['wait_by_one_lane', 'shared memory race|read of pending copy'],
    ['arrive_by_one_lane', 'shared memory race'],
    ['arrival_of_the_next_phase', 'shared memory race|uninitialised shared read'],
    ['copy_onto_unread', 'read of pending copy|shared memory race'],
    ['copy_onto_written', 'missing proxy fence'],
    ['copy_onto_being_read', 'shared memory race|read of pending copy'],
    ['two_copies_to_one_place', 'shared memory race'],
    ['exit_before_a_copy_lands', 'exit with open bulk copies'],
    ['wait_for_another_copy', 'shared memory race|read of pending copy'],
    ['source_written_by_threads', 'missing proxy fence'],
    ['read_of_a_store_in_flight', 'uninitialised global read'],
    ['inval_in_a_phase', 'mbarrier misuse'],
    ['use_after_inval', 'mbarrier misuse'],
    ['bytes_after_inval', 'uninitialised shared read'],
    ['generic_fence', 'missing proxy fence'],
    ['fence_before_the_write', 'missing proxy fence'],
    ['fence_after_the_barrier', 'missing proxy fence'],
    ['copy_without_syncwarp', 'missing syncwarp'],
    ['block_has_exited', 'out of bounds'],
    ['blocks_of_a_cluster', 'shared memory race|uninitialised shared read'],
    ['barrier_twice', 'barrier misuse'],
    ['barrier_for_one_warp', 'shared memory race|uninitialised shared read'],
    ['barrier_of_half_a_warp', 'barrier misuse'],
  ])('%s: %s, and nothing when it is kept', (name, finding) => expectFoundUnlessKept('async_rules', name, finding))
})
