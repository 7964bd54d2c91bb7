// Memory that a step frees is asked for again by the next.
#pragma once

#include <node_api.h>

namespace lockstep {

// keepMemory(): void. From now on this process keeps the memory of freed tensors, instead of giving it back to the kernel
// and faulting it in again page by page at each step. Costs as much resident memory as a step has at its peak.
napi_value KeepMemory(napi_env env, napi_callback_info info);

}  // namespace lockstep
