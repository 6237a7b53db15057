// Runs every kernel of every instruction set that runs here against the formula, without a runtime around it: for
// sanitizers and emulators (custom_ops/check.py). Tensors end where their memory ends, and units run on several
// threads.
#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../src/dispatch.h"
#include "../src/lrn_problem.h"
#include "elements.h"
#include "norms.h"

using namespace onnxnorm;

namespace {

// --- the formula ---

struct Case {
  bool inter;
  std::vector<std::int64_t> window;
  std::vector<std::int64_t> shape;
  float beta = 0.75f;
  float bias = 1.5f;
};

std::string name_of(const Case& c, const Target& target, Element element) {
  std::string text =
      std::string(target.name) + " " + kFormats[static_cast<int>(element)].name + (c.inter ? " inter" : " intra");
  for (const std::int64_t n : c.window) text += " " + std::to_string(n);
  text += ", shape";
  for (const std::int64_t d : c.shape) text += " " + std::to_string(d);
  return text + ", beta " + std::to_string(c.beta) + ", bias " + std::to_string(c.bias);
}

// The tensor as (outer, axes with a window ..., inner); the sum over the box around an element, one term after another.
std::vector<double> formula(const Case& c, const std::vector<double>& x, float alpha) {
  std::vector<double> sums(x);
  for (double& value : sums) value *= value;
  double positions = 1;
  for (std::size_t w = 0; w < c.window.size(); ++w) {
    const std::size_t axis = c.inter ? 1 : 2 + w;
    const std::int64_t n = c.window[w];
    positions *= static_cast<double>(n);
    std::int64_t inner = 1;
    for (std::size_t i = axis + 1; i < c.shape.size(); ++i) inner *= c.shape[i];
    const std::vector<double> before = sums;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(x.size()); ++i) {
      const std::int64_t at = i / inner % c.shape[axis];
      sums[i] = 0;
      for (std::int64_t j = at - (n - 1) / 2; j <= at + n / 2; ++j)
        if (j >= 0 && j < c.shape[axis]) sums[i] += before[i + (j - at) * inner];
    }
  }
  for (std::size_t i = 0; i < x.size(); ++i)
    sums[i] = x[i] / std::pow(c.bias + static_cast<double>(alpha) / positions * sums[i], static_cast<double>(c.beta));
  return sums;
}

void run_on_threads(const LrnProblem& p, LrnKernel kernel, const void* x, void* y, int threads) {
  std::vector<std::thread> pool;
  const std::int64_t units = p.units();
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      if (!kernel(p, x, y, units * t / threads, units * (t + 1) / threads)) std::abort();
    });
  for (std::thread& thread : pool) thread.join();
}

void check(const Case& c, const Target& target, Element element) {
  const Format& format = kFormats[static_cast<int>(element)];
  Attributes attributes;
  attributes.window = c.window;
  attributes.alpha = 3.0f;
  attributes.beta = c.beta;
  attributes.bias = c.bias;
  LrnProblem problem;
  const std::string wrong =
      c.inter ? make_inter(attributes, c.shape, problem) : make_intra(attributes, c.shape, problem);
  expect(wrong.empty(), name_of(c, target, element) + ": " + wrong);
  std::size_t count = 1;
  for (const std::int64_t d : c.shape) count *= static_cast<std::size_t>(d);
  void* const x = std::malloc(count * format.bytes);
  void* const y = std::malloc(count * format.bytes);
  std::mt19937 random(static_cast<unsigned>(count));
  std::normal_distribution<double> normal(0, 2);
  std::vector<double> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    set_number(element, x, i, normal(random));
    numbers[i] = number_at(element, x, i);
  }
  run_on_threads(problem, target.lrn[static_cast<int>(element)], x, y, 3);
  const std::vector<double> wanted = formula(c, numbers, attributes.alpha);
  double worst = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double digit = std::ldexp(std::fabs(wanted[i]), 1 - format.digits) + std::ldexp(1.0, format.least);
    worst = std::max(worst, std::fabs(number_at(element, y, i) - wanted[i]) / digit);
  }
  // double is held against a formula in double, which rounds as often.
  expect(worst <= (element == Element::kDouble ? 8 : 4),
         name_of(c, target, element) + ": off by " + std::to_string(worst));
  std::free(x);
  std::free(y);
}

std::vector<Case> cases(bool quick) {
  std::vector<Case> all;
  const std::vector<std::int64_t> widths = quick
                                               ? std::vector<std::int64_t>{1, 7, 17}
                                               : std::vector<std::int64_t>{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33};
  const std::vector<std::int64_t> windows =
      quick ? std::vector<std::int64_t>{2, 5, 9, 31}
            : std::vector<std::int64_t>{1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 13, 16, 17, 31, 40, 67};
  for (const std::int64_t width : widths)
    for (const std::int64_t n : windows) {
      all.push_back({false, {n, n}, {1, 2, 19, width}});
      all.push_back({true, {n}, {2, 19, width}});
    }
  for (const float beta : quick ? std::vector<float>{0.25f, 0.75f, 0.6f}
                                : std::vector<float>{0.25f, 0.5f, 0.75f, 1.0f, 0.6f, 2.0f, -0.5f, 0.0f})
    for (const float bias : {1.0f, 1e-30f}) {
      all.push_back({false, {3, 5}, {1, 3, 6, 21}, beta, bias});
      all.push_back({true, {5}, {1, 9, 21}, beta, bias});
    }
  all.push_back({false, {7}, {2, 3, 50}});
  all.push_back({false, {3, 5, 3}, {1, 2, 6, 7, 20}});
  all.push_back({false, {9, 1, 2}, {1, 2, 20, 3, 2}});
  all.push_back({true, {4}, {3, 40}});
  // Several blocks.
  all.push_back({false, {5}, {1, 1, 9001}});
  if (quick) return all;
  all.push_back({false, {31, 31}, {1, 1, 150, 600}});
  all.push_back({true, {5}, {1, 100, 1200}});
  return all;
}

// --- sizes ---

// More than 2^32 elements, of which the last two units alone are run: the memory is there when it is touched.
void check_large(const Target& target) {
  const std::vector<std::int64_t> shape = {3, 1, 60000, 30000};
  const std::size_t bytes = 3ull * 60000 * 30000 * 2;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const x = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  void* const y = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (x == MAP_FAILED || y == MAP_FAILED) {
    std::printf("skipped: no address space for 2^32 elements\n");
    return;
  }
  Attributes attributes;
  attributes.window = {3, 3};
  attributes.bias = 16.0f;
  LrnProblem problem;
  expect(make_intra(attributes, shape, problem).empty(), "a shape of more than 2^32 elements is taken");
  const std::size_t last = bytes / 2 - 1;
  set_number(Element::kFloat16, x, last, 8.0);
  const std::int64_t units = problem.units();
  if (!target.lrn[static_cast<int>(Element::kFloat16)](problem, x, y, units - 2, units)) std::abort();
  expect(number_at(Element::kFloat16, y, last) == 1.0, "the last of more than 2^32 elements: 8 / 16^0.75 is 1");
  munmap(x, bytes);
  munmap(y, bytes);
}

void check_sizes() {
  LrnProblem problem;
  Attributes attributes;
  attributes.window = {3, 3};
  const std::int64_t two31 = std::int64_t{1} << 31;
  expect(!make_intra(attributes, {two31, two31, 2, 2}, problem).empty(), "2^64 elements are refused");
  expect(!make_intra(attributes, {0, two31, two31, 2}, problem).empty(),
         "2^63 positions of an empty tensor are refused");
  expect(!make_intra(attributes, {1, 1, -1, 2}, problem).empty(), "negative dimensions are refused");
  attributes.window = {3};
  expect(!make_inter(attributes, {two31, 1, two31, 4}, problem).empty(), "2^64 elements are refused across channels");
  attributes.window = {two31 * two31};
  expect(make_inter(attributes, {1, 4, 4}, problem).empty() && problem.reach[1].width() <= 7,
         "a window is cut to the tensor");
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "--quick") == 0;
  check_sizes();
  std::size_t count = 0;
  for (const Target* target : targets_here()) {
    check_large(*target);
    count += check_norms(*target, quick);
    for (const Case& c : cases(quick))
      for (int element = 0; element < kElements; ++element)
        if (target->lrn[element] != nullptr) {
          check(c, *target, static_cast<Element>(element));
          ++count;
        }
    std::printf("%s: done\n", target->name);
  }
  std::printf("%zu cases, %d failed\n", count, failures);
  return failures == 0 ? 0 : 1;
}
