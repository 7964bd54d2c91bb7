#include "waker.h"

#include <map>
#include <mutex>

#include "script.h"

namespace lockstep {
namespace {

// The mutex is held while a function is called through the table, so none is released meanwhile. Node's own lock is only
// ever taken inside of this one.
std::mutex wakers_mutex;
std::map<uint32_t, napi_threadsafe_function> wakers;
uint32_t last_handle = 0;

// Takes the waker out of the table; null where it is gone already.
napi_threadsafe_function Remove(uint32_t handle) {
  const std::lock_guard<std::mutex> lock(wakers_mutex);
  const auto found = wakers.find(handle);
  if (found == wakers.end()) return nullptr;
  const napi_threadsafe_function function = found->second;
  wakers.erase(found);
  return function;
}

// Its thread ends, or it was released: nobody may call it from here on.
void Finalize(napi_env, void* data, void*) { Remove(static_cast<uint32_t>(reinterpret_cast<uintptr_t>(data))); }

void CallBack(napi_env env, napi_value callback, void*, void*) {
  if (env == nullptr) return;  // the thread is ending
  napi_value receiver;
  if (napi_get_undefined(env, &receiver) != napi_ok) return;
  napi_call_function(env, receiver, callback, 0, nullptr, nullptr);
}

}  // namespace

void Wake(uint32_t handle) {
  const std::lock_guard<std::mutex> lock(wakers_mutex);
  const auto found = wakers.find(handle);
  if (found == wakers.end()) return;
  // A queue of one: where it is full, a call is on its way that has not begun.
  const napi_status status = napi_call_threadsafe_function(found->second, nullptr, napi_tsfn_nonblocking);
  // Having said so, Node frees the function.
  if (status == napi_closing) wakers.erase(found);
}

napi_value CreateWaker(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  uint32_t handle;
  {
    const std::lock_guard<std::mutex> lock(wakers_mutex);
    handle = ++last_handle;
  }
  napi_value name;
  napi_threadsafe_function function;
  const auto data = reinterpret_cast<void*>(static_cast<uintptr_t>(handle));
  if (napi_create_string_utf8(env, "lockstep:waker", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_threadsafe_function(env, arguments[0], nullptr, name, 1, 1, data, Finalize, nullptr, CallBack,
                                      &function) != napi_ok) {
    return Throw(env, "A waker could not be made: its callback is not a function");
  }
  napi_unref_threadsafe_function(env, function);
  {
    const std::lock_guard<std::mutex> lock(wakers_mutex);
    wakers[handle] = function;
  }
  napi_value result;
  napi_create_uint32(env, handle, &result);
  return result;
}

napi_value WakeFromScript(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  uint32_t handle = 0;
  if (napi_get_value_uint32(env, arguments[0], &handle) == napi_ok) Wake(handle);
  return nullptr;
}

napi_value CloseWaker(napi_env env, napi_callback_info info) {
  Arguments<1> arguments(env, info);
  uint32_t handle = 0;
  napi_get_value_uint32(env, arguments[0], &handle);
  const napi_threadsafe_function function = Remove(handle);
  if (function != nullptr) napi_release_threadsafe_function(function, napi_tsfn_abort);
  return nullptr;
}

}  // namespace lockstep
