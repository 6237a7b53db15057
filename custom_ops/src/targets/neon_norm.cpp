#define ONNXNORM_TARGET neon
#define ONNXNORM_VECTOR_BYTES 16
#include "../kernels/norm_target.inc"
