// Lockstep's own addon: what a worker needs of TensorFlow, and of its other threads, that tfjs-node's addon does not give.
// It may be loaded by any number of threads of a process.
#include <node_api.h>

#include "graph.h"
#include "script.h"
#include "store_op.h"
#include "waker.h"

namespace lockstep {
namespace {

napi_value Initialize(napi_env env, napi_value exports) {
  const std::string failure = RegisterStoreOp();
  if (!failure.empty()) return Throw(env, failure);
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {
      {"createGraph", CreateGraph}, {"runGraph", RunGraph},     {"closeGraph", CloseGraph}, {"createWaker", CreateWaker},
      {"wake", WakeFromScript},     {"closeWaker", CloseWaker}, {"numGraphs", NumGraphs},
  };
  for (const auto& [name, function] : functions) {
    napi_value value;
    if (napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) != napi_ok ||
        napi_set_named_property(env, exports, name, value) != napi_ok) {
      return Throw(env, "The addon's functions could not be made");
    }
  }
  return exports;
}

}  // namespace
}  // namespace lockstep

NAPI_MODULE_INIT() { return lockstep::Initialize(env, exports); }
