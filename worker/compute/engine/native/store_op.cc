#include "store_op.h"

#include <cstdint>
#include <mutex>

#include "kernels_api.h"
#include "run.h"
#include "status.h"

#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_tensor.h"

namespace lockstep {
namespace {

struct StoreKernel {
  Run* run = nullptr;
  int64_t target = 0;
  bool plain = false;
};

void* Create(TF_OpKernelConstruction* construction) {
  const Status status;
  auto* kernel = new StoreKernel;
  int64_t run_id = 0;
  TF_Bool plain = 0;
  TF_OpKernelConstruction_GetAttrInt64(construction, "run", &run_id, status);
  TF_OpKernelConstruction_GetAttrInt64(construction, "target", &kernel->target, status);
  TF_OpKernelConstruction_GetAttrBool(construction, "plain", &plain, status);
  kernel->plain = plain != 0;
  kernel->run = FindRun(run_id);
  if (!status.ok() || kernel->run == nullptr) {
    status.Set(TF_INTERNAL, "LockstepStore is part of no run");
    TF_OpKernelConstruction_Failure(construction, status);
  }
  return kernel;
}

void Compute(void* data, TF_OpKernelContext* context) {
  const auto& kernel = *static_cast<StoreKernel*>(data);
  const Status status;
  TF_Tensor* tensor = nullptr;
  TF_GetInput(context, 0, &tensor, status);
  if (status.ok()) {
    const Target& target = kernel.run->targets[kernel.target];
    if (TF_TensorElementCount(tensor) == target.elements) {
      kernel.run->Store(kernel.target, static_cast<const float*>(TF_TensorData(tensor)), kernel.plain);
    } else {
      status.Set(TF_INTERNAL, "LockstepStore has a target of another size");
    }
    TF_DeleteTensor(tensor);
  }
  if (!status.ok()) TF_OpKernelContext_Failure(context, status);
}

void Delete(void* data) { delete static_cast<StoreKernel*>(data); }

std::string Register() {
  const Status status;
  TF_OpDefinitionBuilder* definition = TF_NewOpDefinitionBuilder("LockstepStore");
  TF_OpDefinitionBuilderAddInput(definition, "values: float");
  TF_OpDefinitionBuilderAddAttr(definition, "run: int");
  TF_OpDefinitionBuilderAddAttr(definition, "target: int");
  TF_OpDefinitionBuilderAddAttr(definition, "plain: bool");
  // It has no output and is there for what it does.
  TF_OpDefinitionBuilderSetIsStateful(definition, true);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(definition, [](TF_ShapeInferenceContext*, TF_Status*) {});
  TF_RegisterOpDefinition(definition, status);
  if (!status.ok()) return status.message();
  // On a GPU too its input is asked for in the host's memory: TensorFlow copies it.
  TF_RegisterKernelBuilder("LockstepStore", TF_NewKernelBuilder("LockstepStore", "CPU", Create, Compute, Delete), status);
  return status.ok() ? "" : status.message();
}

}  // namespace

std::string RegisterStoreOp() {
  static std::once_flag once;
  static std::string failure;
  std::call_once(once, [] { failure = Register(); });
  return failure;
}

}  // namespace lockstep
