// The one symbol of the library.
#include "lrn_op.h"
#include "norm_op.h"

extern "C" ONNXNORM_EXPORT onnxnorm::ort::Status* ONNXNORM_ORT_CALL
RegisterCustomOps(onnxnorm::ort::SessionOptions* options, const onnxnorm::ort::ApiBase* base) {
  using namespace onnxnorm;
  const ort::Api* api = base->GetApi(ort::kApiVersion);
  if (api == nullptr) {
    const ort::Api* oldest = base->GetApi(1);
    return oldest->CreateStatus(ort::kFail, "onnxnorm's kernels need ONNX Runtime 1.17 or newer");
  }
  ort::CustomOpDomain* domain = nullptr;
  if (ort::Status* status = api->CreateCustomOpDomain(kDomain, &domain)) return status;
  if (ort::Status* status = add_ops(*api, domain)) return status;
  if (ort::Status* status = add_norm_ops(*api, domain)) return status;
  return api->AddCustomOpDomain(options, domain);
}
