/* Runs a model of one float input (1, 2, 4, 4) with the kernels of onnxnorm and prints what comes out.
 *   cc run.c -I ../include ONNXRUNTIME/libonnxruntime.so.1 -Wl,-rpath,ONNXRUNTIME -o run
 *   ./run model.onnx libonnxnorm_custom_ops.so X Y
 * "-" in place of the library runs the bodies that the model carries. */
#include <onnxnorm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 32 };

static const OnnxNormApi* api;

static void check(OnnxNormStatus* status) {
  if (status == NULL) return;
  fprintf(stderr, "error: %s\n", api->GetErrorMessage(status));
  exit(1);
}

int main(int count, char** arguments) {
  if (count != 5) {
    fprintf(stderr, "usage: %s model.onnx library input output\n", arguments[0]);
    return 2;
  }
  api = OrtGetApiBase()->GetApi(ONNXNORM_API_VERSION);
  if (api == NULL) {
    fprintf(stderr, "error: ONNX Runtime %s is too old\n", OrtGetApiBase()->GetVersionString());
    return 1;
  }
  OnnxNormEnv* env;
  OnnxNormOptions* options;
  OnnxNormSession* session;
  OnnxNormMemory* memory;
  OnnxNormValue *x, *y = NULL;
  void* handle;
  check(api->CreateEnv(3, "run", &env));
  check(api->CreateSessionOptions(&options));
  if (strcmp(arguments[2], "-") != 0) check(api->RegisterCustomOpsLibrary(options, arguments[2], &handle));
  check(api->CreateSession(env, arguments[1], options, &session));

  float data[COUNT];
  for (int i = 0; i < COUNT; ++i) data[i] = (float)(i - 11) / 4;
  const int64_t shape[] = {1, 2, 4, 4};
  check(api->CreateCpuMemoryInfo(1, 0, &memory));
  check(api->CreateTensorWithDataAsOrtValue(memory, data, sizeof data, shape, 4, ONNXNORM_FLOAT, &x));
  const char *inputs[] = {arguments[3]}, *outputs[] = {arguments[4]};
  const OnnxNormValue* values[] = {x};
  check(api->Run(session, NULL, inputs, values, 1, outputs, 1, &y));
  float* result;
  check(api->GetTensorMutableData(y, (void**)&result));
  for (int i = 0; i < COUNT; ++i) printf("%.9g\n", result[i]);
  return 0;
}
