// Values of JavaScript, read with as few words as the callers have thoughts.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace lockstep {

// The arguments of a call; those not given are undefined.
template <size_t N>
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }
  napi_value operator[](size_t index) const { return values_[index]; }

 private:
  napi_value values_[N] = {};
};

inline napi_value Throw(napi_env env, const std::string& message) {
  napi_throw_error(env, nullptr, message.c_str());
  return nullptr;
}

// The memory of a typed array, over a SharedArrayBuffer too.
struct View {
  void* data = nullptr;
  size_t length = 0;  // in elements
  napi_typedarray_type type = napi_uint8_array;
  bool valid = false;

  View(napi_env env, napi_value value) {
    valid = napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) == napi_ok;
  }

  size_t bytes() const {
    switch (type) {
      case napi_float32_array:
      case napi_int32_array:
      case napi_uint32_array:
        return length * 4;
      case napi_float64_array:
      case napi_bigint64_array:
      case napi_biguint64_array:
        return length * 8;
      case napi_int16_array:
      case napi_uint16_array:
        return length * 2;
      default:
        return length;
    }
  }
};

inline napi_value Property(napi_env env, napi_value object, const char* name) {
  napi_value value = nullptr;
  napi_get_named_property(env, object, name, &value);
  return value;
}

inline napi_value Element(napi_env env, napi_value array, uint32_t index) {
  napi_value value = nullptr;
  napi_get_element(env, array, index, &value);
  return value;
}

inline uint32_t Length(napi_env env, napi_value array) {
  uint32_t length = 0;
  napi_get_array_length(env, array, &length);
  return length;
}

inline double Number(napi_env env, napi_value value) {
  double number = 0;
  napi_get_value_double(env, value, &number);
  return number;
}

inline bool Boolean(napi_env env, napi_value value) {
  bool boolean = false;
  napi_get_value_bool(env, value, &boolean);
  return boolean;
}

}  // namespace lockstep
