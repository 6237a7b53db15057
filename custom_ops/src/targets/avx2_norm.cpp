#define ONNXNORM_TARGET avx2
#define ONNXNORM_VECTOR_BYTES 32
#include "../kernels/norm_target.inc"
