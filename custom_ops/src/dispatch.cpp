#include "dispatch.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#define ONNXNORM_X86 1
#endif

namespace onnxnorm {

namespace baseline { extern const Target target; }
#if defined(ONNXNORM_X86)
namespace avx2 { extern const Target target; }
namespace avx512 { extern const Target target; }
#if defined(ONNXNORM_EMULATE_AVX512)
namespace emulated512 { extern const Target target; }
#endif
#endif

namespace {

struct Candidate {
  const Target* target;
  bool runs_here;
  bool automatic;
};

#if defined(ONNXNORM_X86)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

}  // namespace

const Target* choose_target(std::string& wrong) {
  const Candidate candidates[] = {
#if defined(ONNXNORM_X86)
      {&avx512::target, has_avx512(), true},
      {&avx2::target, has_avx2(), true},
#if defined(ONNXNORM_EMULATE_AVX512)
      {&emulated512::target, has_avx2(), false},
#endif
#endif
      {&baseline::target, true, true},
  };
  const char* asked = std::getenv("ONNXNORM_ISA");
  const bool free = asked == nullptr || *asked == '\0';
  std::string names;
  for (const Candidate& candidate : candidates) {
    if (candidate.runs_here && (free ? candidate.automatic : std::strcmp(asked, candidate.target->name) == 0))
      return candidate.target;
    if (candidate.runs_here) names += std::string(names.empty() ? "" : ", ") + candidate.target->name;
  }
  wrong = std::string("ONNXNORM_ISA is '") + asked + "'; this processor and build have: " + names;
  return nullptr;
}

}  // namespace onnxnorm
