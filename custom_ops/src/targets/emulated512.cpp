// The 512-bit kernels, with every vector operation lowered by the compiler to two of AVX2.
#define ONNXNORM_TARGET emulated512
#define ONNXNORM_VECTOR_BYTES 64
#include "../kernels/target.inc"
