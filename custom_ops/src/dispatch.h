// Which instruction set's kernels run: the best the processor has, or the one that ONNXNORM_ISA names.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lrn_problem.h"
#include "norm_problem.h"

namespace onnxnorm {

// Computes units [begin, end) of a problem. False where no memory was left for the scratch.
using LrnKernel = bool (*)(const LrnProblem&, const void* x, void* y, std::int64_t begin, std::int64_t end);

// The same of a normalization: what is worked on are chunks of rows, rows, or blocks of columns.
using NormKernel = bool (*)(const NormProblem&, const NormOperands&, std::int64_t begin, std::int64_t end);

struct NormKernels {
  NormKernel moments;
  NormKernel apply;
  NormKernel rows;
  NormKernel columns;
  NormKernel squares;  // of columns, alone
};

struct Target {
  const char* name;
  LrnKernel lrn[kElements];
  const NormKernels* norm;  // of each element type
};

// All that this build has and this processor runs, the best first.
std::vector<const Target*> targets_here();

// The kernels to use; null with `wrong` set where ONNXNORM_ISA asks for what this build or processor lacks.
const Target* choose_target(std::string& wrong);

}  // namespace onnxnorm
