/* The part of ONNX Runtime's C interface that it takes to run a model with the kernels of onnxnorm, for programs that
 * have the runtime's library and not its header. The runtime's table of functions only grows at its end, so that this
 * holds for every ONNX Runtime from 1.17 on. Include onnxruntime_c_api.h instead where you have it. */
#ifndef ONNXNORM_H
#define ONNXNORM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define ONNXNORM_CALL __stdcall
typedef wchar_t OnnxNormPathChar;
#else
#define ONNXNORM_CALL
typedef char OnnxNormPathChar;
#endif

#define ONNXNORM_API_VERSION 17
#define ONNXNORM_FLOAT 1

/* All are opaque: a status is null where all went well. */
typedef struct OnnxNormStatus OnnxNormStatus;
typedef struct OnnxNormEnv OnnxNormEnv;
typedef struct OnnxNormSession OnnxNormSession;
typedef struct OnnxNormOptions OnnxNormOptions;
typedef struct OnnxNormMemory OnnxNormMemory;
typedef struct OnnxNormValue OnnxNormValue;

/* The table of functions, each at the place where the runtime has it. */
typedef struct OnnxNormApi {
  void* unused_0[2];
  const char*(ONNXNORM_CALL* GetErrorMessage)(const OnnxNormStatus*);
  OnnxNormStatus*(ONNXNORM_CALL* CreateEnv)(int log_level, const char* name, OnnxNormEnv** out);
  void* unused_4[3];
  OnnxNormStatus*(ONNXNORM_CALL* CreateSession)(const OnnxNormEnv*, const OnnxNormPathChar* path,
                                                const OnnxNormOptions*, OnnxNormSession** out);
  void* unused_8[1];
  OnnxNormStatus*(ONNXNORM_CALL* Run)(OnnxNormSession*, const void* run_options, const char* const* input_names,
                                      const OnnxNormValue* const* inputs, size_t input_count,
                                      const char* const* output_names, size_t output_count, OnnxNormValue** outputs);
  OnnxNormStatus*(ONNXNORM_CALL* CreateSessionOptions)(OnnxNormOptions** out);
  void* unused_11[18];
  OnnxNormStatus*(ONNXNORM_CALL* RegisterCustomOpsLibrary)(OnnxNormOptions*, const char* path, void** handle);
  void* unused_30[19];
  OnnxNormStatus*(ONNXNORM_CALL* CreateTensorWithDataAsOrtValue)(const OnnxNormMemory*, void* data, size_t bytes,
                                                                 const int64_t* shape, size_t rank, int element_type,
                                                                 OnnxNormValue** out);
  void* unused_50[1];
  OnnxNormStatus*(ONNXNORM_CALL* GetTensorMutableData)(OnnxNormValue*, void** out);
  void* unused_52[17];
  OnnxNormStatus*(ONNXNORM_CALL* CreateCpuMemoryInfo)(int allocator_type, int memory_type, OnnxNormMemory** out);
} OnnxNormApi;

/* What the runtime's library exports. GetApi returns null where it is older than the version asked for. */
typedef struct OnnxNormApiBase {
  const OnnxNormApi*(ONNXNORM_CALL* GetApi)(uint32_t version);
  const char*(ONNXNORM_CALL* GetVersionString)(void);
} OnnxNormApiBase;
const OnnxNormApiBase* OrtGetApiBase(void);

/* What the library of onnxnorm exports: registers its operators with a session's options. Programs need not call it:
 * RegisterCustomOpsLibrary does, with the path of the file. */
OnnxNormStatus* ONNXNORM_CALL RegisterCustomOps(OnnxNormOptions* options, const OnnxNormApiBase* base);

#ifdef __cplusplus
}
#endif

#endif
