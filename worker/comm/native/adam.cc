// The kernel of src/kernels/assembly/adam.ts in the processor's own instructions: the same operations on each element in the
// same order, each rounded once, hence the same bits. AVX2 takes eight elements at once where WebAssembly takes four.

#include "adam.h"

#include <math.h>
#include <stdint.h>

namespace lockstep {
namespace {

constexpr size_t kNumCoefficients = 8;
constexpr size_t kNumAddresses = 4;
constexpr float kSmallestNormal = 1.1754943508222875e-38f;

struct Coefficients {
  float beta1, share1, beta2, share2, step_size, unbias2, epsilon, decay;
};

// Denormals become zero.
inline __attribute__((always_inline)) float Flush(float value) {
  return fabsf(value) < kSmallestNormal ? 0.0f : value;
}

inline __attribute__((always_inline)) void Step(float* __restrict parameters, const float* __restrict gradients,
                                                float* __restrict moments1, float* __restrict moments2, size_t n,
                                                const Coefficients& by) {
  for (size_t i = 0; i < n; i++) {
    const float gradient = gradients[i];
    const float moment1 = Flush(moments1[i] * by.beta1 + gradient * by.share1);
    const float moment2 = Flush(moments2[i] * by.beta2 + (gradient * gradient) * by.share2);
    const float parameter = parameters[i];
    const float deviation = sqrtf(moment2 * by.unbias2) + by.epsilon;
    moments1[i] = moment1;
    moments2[i] = moment2;
    parameters[i] = parameter - (moment1 * by.step_size / deviation + parameter * by.decay);
  }
}

void StepPlain(float* p, const float* g, float* m, float* v, size_t n, const Coefficients& by) { Step(p, g, m, v, n, by); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void StepAvx2(float* p, const float* g, float* m, float* v, size_t n,
                                              const Coefficients& by) {
  Step(p, g, m, v, n, by);
}

const auto step = __builtin_cpu_supports("avx2") ? StepAvx2 : StepPlain;
#else
const auto step = StepPlain;
#endif

bool GetArray(napi_env env, napi_value value, napi_typedarray_type expected, size_t* length, void** start) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, length, start, nullptr, nullptr) == napi_ok && type == expected;
}

}  // namespace

napi_value Adam(napi_env env, napi_callback_info info) {
  napi_value arguments[7];
  size_t count = 7;
  size_t length = 0;
  size_t num_coefficients = 0;
  void* start = nullptr;
  void* coefficients = nullptr;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) != napi_ok || count != 7 ||
      !GetArray(env, arguments[0], napi_uint8_array, &length, &start) ||
      !GetArray(env, arguments[6], napi_float32_array, &num_coefficients, &coefficients) ||
      num_coefficients != kNumCoefficients) {
    napi_throw_type_error(env, nullptr, "expected a Uint8Array, four addresses, a number and eight coefficients");
    return nullptr;
  }
  int64_t n = -1;
  napi_get_value_int64(env, arguments[5], &n);
  float* arrays[kNumAddresses];
  for (size_t i = 0; i < kNumAddresses; i++) {
    int64_t address = -1;
    napi_get_value_int64(env, arguments[1 + i], &address);
    if (address < 0 || n < 0 || static_cast<size_t>(address) + static_cast<size_t>(n) * sizeof(float) > length) {
      napi_throw_range_error(env, nullptr, "the elements are outside of the memory");
      return nullptr;
    }
    arrays[i] = reinterpret_cast<float*>(static_cast<char*>(start) + address);
  }
  step(arrays[0], arrays[1], arrays[2], arrays[3], static_cast<size_t>(n), *static_cast<const Coefficients*>(coefficients));
  return nullptr;
}

}  // namespace lockstep
