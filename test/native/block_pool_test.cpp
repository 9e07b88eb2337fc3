// Blocks that are used again.

#include "check.h"
#include "cpu/block_pool.h"

#include <cstdint>
#include <cstring>

namespace attn::test {

using cpu::BlockPool;

TEST(block_pool_gives_a_block_again) {
  BlockPool pool(std::size_t{64} << 20);
  for (const std::size_t bytes : {std::size_t{200000}, std::size_t{1} << 20, std::size_t{9} << 20}) {
    void* first = pool.allocate(bytes);
    std::memset(first, 1, bytes);
    pool.release(first, bytes);
    CHECK(pool.kept() >= bytes);
    CHECK(pool.allocate(bytes - 10) == first);  // a neighbour of its size
    CHECK_EQUAL(pool.kept(), 0u);
    void* other = pool.allocate(bytes);
    CHECK(other != first);
    pool.release(first, bytes - 10);
    pool.release(other, bytes);
    pool.drop();
    CHECK_EQUAL(pool.kept(), 0u);
  }
}

TEST(block_pool_keeps_no_more_than_it_may) {
  BlockPool pool(std::size_t{3} << 20);
  void* blocks[5];
  for (void*& block : blocks) block = pool.allocate(std::size_t{1} << 20);
  for (void* block : blocks) {
    pool.release(block, std::size_t{1} << 20);
    CHECK(pool.kept() <= std::size_t{3} << 20);
  }
  CHECK_EQUAL(pool.kept(), std::size_t{3} << 20);
  CHECK(pool.allocate(std::size_t{1} << 20) == blocks[4]);  // the latest is the one whose lines may still be in a cache
  pool.release(blocks[4], std::size_t{1} << 20);
  void* large = pool.allocate(std::size_t{4} << 20);
  pool.release(large, std::size_t{4} << 20);  // larger than all that may be kept
  CHECK_EQUAL(pool.kept(), std::size_t{3} << 20);
}

TEST(block_pool_aligns_and_takes_any_size) {
  BlockPool pool(std::size_t{16} << 20);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{63}, std::size_t{4097}, std::size_t{131072}, std::size_t{5000001}}) {
    void* block = pool.allocate(bytes);
    CHECK(block != nullptr);
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(block) % 64, 0u);
    std::memset(block, 1, bytes);
    pool.release(block, bytes);
  }
  CHECK(pool.allocate(std::size_t{1} << 62) == nullptr);
}

}  // namespace attn::test
