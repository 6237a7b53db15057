#include "dispatch.h"

#include <cstdlib>
#include <cstring>

namespace onnxnorm {

#if defined(__x86_64__) && !defined(ONNXNORM_BASELINE_ONLY)
#define ONNXNORM_AVX 1
namespace avx512 { extern const Target target; }
namespace avx2 { extern const Target target; }
#endif
#if defined(ONNXNORM_EMULATE_AVX512)
namespace emulated512 { extern const Target target; }
#endif
#if defined(__aarch64__)
namespace neon { extern const Target target; }
#else
namespace baseline { extern const Target target; }
#endif

namespace {

#if defined(ONNXNORM_AVX)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

}  // namespace

std::vector<const Target*> targets_here() {
  std::vector<const Target*> targets;
#if defined(ONNXNORM_AVX)
  if (has_avx512()) targets.push_back(&avx512::target);
  if (has_avx2()) targets.push_back(&avx2::target);
#endif
#if defined(ONNXNORM_EMULATE_AVX512)
  if (has_avx2()) targets.push_back(&emulated512::target);  // behind avx2: never the best
#endif
#if defined(__aarch64__)
  targets.push_back(&neon::target);
#else
  targets.push_back(&baseline::target);
#endif
  return targets;
}

const Target* choose_target(std::string& wrong) {
  const std::vector<const Target*> targets = targets_here();
  const char* asked = std::getenv("ONNXNORM_ISA");
  if (asked == nullptr || *asked == '\0') return targets.front();
  std::string names;
  for (const Target* target : targets) {
    if (std::strcmp(asked, target->name) == 0) return target;
    names += std::string(names.empty() ? "" : ", ") + target->name;
  }
  wrong = std::string("ONNXNORM_ISA is '") + asked + "'; this processor and build have: " + names;
  return nullptr;
}

}  // namespace onnxnorm
