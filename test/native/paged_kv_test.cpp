// Rows in and out of pages: what is written, that nothing else is, and what is refused.

#include <numeric>

#include "check.h"
#include "core/paged_kv.h"
#include "ops_support.h"

namespace attn::test {
namespace {

HostInts ints(std::vector<std::int32_t> values) { return std::make_shared<const std::vector<std::int32_t>>(std::move(values)); }

/// 0, 1, 2, … as elements.
Tensor counting(DType dtype, const std::vector<std::int64_t>& shape, double first = 0) {
  std::int64_t count = 1;
  for (std::int64_t extent : shape) count *= extent;
  std::vector<double> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return make_tensor(dtype, shape, values);
}

std::vector<double> row(const Tensor& tensor, std::int64_t first, std::int64_t second) {
  return values_of(slice(slice(tensor, 0, first, first + 1), 1, second, second + 1));
}

}  // namespace

TEST(paged_append_writes_slots_and_skips_rows) {
  register_test_kernels();
  for (DType from : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3}) {
    for (DType to : {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat8E4M3}) {
      const Tensor src = counting(from, {2, 3, 1, 2}), pages = make_tensor(to, {4, 2, 1, 2}, std::vector<double>(16, 15));
      paged_append(src, pages, ints({7, 0, -1, -1, 2, 5}), std::nullopt);
      const std::vector<double> expected = {2, 3, 15, 15, 8, 9, 15, 15, 15, 15, 10, 11, 15, 15, 0, 1};
      CHECK(values_of(pages) == expected);
    }
  }
}

TEST(paged_append_takes_strides_and_parts_of_a_row) {
  register_test_kernels();
  const Tensor cache = make_tensor(DType::kFloat32, {3, 4, 1, 12}, std::vector<double>(144, -1));
  const Tensor part = slice(cache, 3, 5, 9);  // [num_pages, page_size, 1, 4] of rows of 12
  const Tensor src = slice(counting(DType::kBFloat16, {1, 5, 1, 8}), 3, 2, 6);
  paged_append(src, part, ints({11, 10, 0, 4, 3}), std::nullopt);
  const std::int32_t slots[] = {11, 10, 0, 4, 3};
  for (std::int64_t i = 0; i < 5; ++i) CHECK(row(part, slots[i] / 4, slots[i] % 4) == row(src, 0, i));
  for (double value : values_of(slice(cache, 3, 0, 5))) CHECK_EQUAL(value, -1.0);
  for (double value : values_of(slice(cache, 3, 9, 12))) CHECK_EQUAL(value, -1.0);
  // Heads that do not lie together, on either side.
  const Tensor heads_first = transpose(counting(DType::kFloat32, {1, 3, 4, 5}), 1, 2);  // [1, 4, 3, 5]
  const Tensor pages = transpose(make_tensor(DType::kFloat32, {2, 3, 2, 5}, std::vector<double>(60)), 1, 2);
  paged_append(heads_first, pages, ints({3, 2, 1, 0}), std::nullopt);
  for (std::int64_t i = 0; i < 4; ++i) CHECK(row(pages, (3 - i) / 2, (3 - i) % 2) == row(heads_first, 0, i));
}

TEST(paged_append_refuses_slots_outside_of_the_cache) {
  register_test_kernels();
  const Tensor src = counting(DType::kFloat32, {1, 2, 1, 2}), pages = counting(DType::kFloat32, {3, 2, 1, 2});
  const std::vector<double> before = values_of(pages);
  const auto call = [&](const Tensor& src, std::vector<std::int32_t> slots) {
    return error_of([&] { paged_append(src, pages, ints(std::move(slots)), std::nullopt); });
  };
  CHECK_EQUAL(call(src, {0, 6}), "slots[1]: expected a number from -1 to 5, received 6");
  CHECK_EQUAL(call(src, {-2, 0}), "slots[0]: expected a number from -1 to 5, received -2");
  CHECK_EQUAL(call(src, {0}), "slots: expected 2 items (batch · newLen), received 1");
  CHECK_EQUAL(call(counting(DType::kFloat32, {1, 2, 1, 3}), {0, 1}), "src: expected dim (axis 3) to be 2, received [1, 2, 1, 3]");
  CHECK_EQUAL(call(make_tensor(DType::kInt32, {1, 2, 1, 2}, {0, 0, 0, 0}), {0, 1}), "src: expected a float dtype, received int32");
  CHECK_EQUAL(call(slice(pages, 0, 0, 1), {0, 1}), "pages: expected memory that does not overlap src, received overlapping memory");
  CHECK(values_of(pages) == before);
}

TEST(page_copy_copies_whole_pages) {
  register_test_kernels();
  for (DType dtype : {DType::kFloat32, DType::kBFloat16, DType::kFloat8E4M3}) {
    const Tensor cache = random_tensor(dtype, {6, 3, 2, 5}, 1);
    for (const Tensor& pages : {cache, slice(cache, 3, 1, 4)}) {
      const std::vector<double> zero = values_of(slice(pages, 0, 0, 1)), three = values_of(slice(pages, 0, 3, 4)), four = values_of(slice(pages, 0, 4, 5));
      page_copy(pages, ints({0, 5, 3, 1, 0, 2}));
      for (std::int64_t page : {0, 5, 2}) CHECK(values_of(slice(pages, 0, page, page + 1)) == zero);
      for (std::int64_t page : {3, 1}) CHECK(values_of(slice(pages, 0, page, page + 1)) == three);
      CHECK(values_of(slice(pages, 0, 4, 5)) == four);
    }
  }
}

TEST(page_copy_refuses_pages_that_do_not_exist_or_collide) {
  register_test_kernels();
  const Tensor pages = random_tensor(DType::kFloat32, {4, 2, 3}, 1);
  const auto call = [&](std::vector<std::int32_t> pairs) { return error_of([&] { page_copy(pages, ints(std::move(pairs))); }); };
  CHECK_EQUAL(call({0, 4}), "pairs[1]: expected a number from 0 to 3, received 4");
  CHECK_EQUAL(call({-1, 0}), "pairs[0]: expected a number from 0 to 3, received -1");
  CHECK_EQUAL(call({0, 1, 2}), "pairs: expected an even number of items, received 3");
  CHECK_EQUAL(call({0, 1, 2, 1}), "pairs[3]: expected a page that no other pair writes, received 1");
  CHECK_EQUAL(call({0, 1, 1, 2}), "pairs[2]: expected a page that no other pair writes, received 1");
  CHECK_EQUAL(call({0, 1, 2, 0}), "pairs[3]: expected a page that no other pair writes, received 0");
  CHECK_EQUAL(call({2, 2}), "pairs[1]: expected a page that no other pair writes, received 2");
  CHECK_EQUAL(call({}), "");
}

TEST(paged_gather_packs_rows) {
  register_test_kernels();
  const Tensor whole = counting(DType::kFloat16, {5, 3, 4});
  for (const Tensor& pages : {whole, slice(whole, 2, 1, 3)}) {
    const std::int32_t list[] = {4, 0, 2};
    for (const auto& [begin, end] : {std::pair{0, 9}, {0, 0}, {2, 7}, {3, 4}, {8, 9}, {9, 9}}) {
      const Tensor rows = paged_gather(pages, ints({4, 0, 2}), begin, end);
      CHECK(rows.view.rank == 2 && rows.view.shape[0] == end - begin && rows.view.shape[1] == pages.view.shape[2]);
      for (std::int64_t i = begin; i < end; ++i) CHECK(values_of(slice(rows, 0, i - begin, i - begin + 1)) == row(pages, list[i / 3], i % 3));
    }
  }
}

TEST(paged_gather_refuses_what_is_not_there) {
  register_test_kernels();
  const Tensor pages = counting(DType::kFloat32, {5, 3, 4});
  const auto call = [&](std::vector<std::int32_t> list, std::int64_t begin, std::int64_t end) {
    return error_of([&] { paged_gather(pages, ints(std::move(list)), begin, end); });
  };
  CHECK_EQUAL(call({1, 2}, 0, 7), "end: expected a number from 0 to 6, received 7");
  CHECK_EQUAL(call({1, 2}, 4, 3), "end: expected a number from 4 to 6, received 3");
  CHECK_EQUAL(call({1, 2}, -1, 3), "begin: expected a number from 0 to 6, received -1");
  CHECK_EQUAL(call({1, 5}, 0, 4), "pageList[1]: expected a number from 0 to 4, received 5");
  CHECK_EQUAL(call({1, 5}, 0, 3), "");  // a page that is not needed may be anything
}

}  // namespace attn::test
