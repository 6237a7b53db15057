#define ONNXNORM_TARGET neon
#define ONNXNORM_VECTOR_BYTES 16
#include "../kernels/target.inc"
