// One step of Adam over flat memory: adam.cc.
#pragma once

#include <node_api.h>

namespace lockstep {

// adam(bytes, parameters, gradient, moment1, moment2, n, coefficients): addresses are bytes from the start of `bytes`, a
// Uint8Array; `coefficients` is a Float32Array of beta1, share1, beta2, share2, stepSize, unbias2, epsilon, decay.
napi_value Adam(napi_env env, napi_callback_info info);

}  // namespace lockstep
