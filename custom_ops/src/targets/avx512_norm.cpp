#define ONNXNORM_TARGET avx512
#define ONNXNORM_VECTOR_BYTES 64
#include "../kernels/norm_target.inc"
