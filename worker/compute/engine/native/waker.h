// Wakes the event loop of another thread of this process. A waker is a number, so that it can be posted to that thread's
// colleagues; using one whose thread is gone does nothing.
#pragma once

#include <node_api.h>

#include <cstdint>

namespace lockstep {

// From any thread. Wakes that come before the callback has begun are one.
void Wake(uint32_t handle);

// createWaker(callback: () => void): number. The callback runs on the thread that calls this; a waker does not keep that
// thread alive.
napi_value CreateWaker(napi_env env, napi_callback_info info);
// wake(handle: number): void
napi_value WakeFromScript(napi_env env, napi_callback_info info);
// closeWaker(handle: number): void. On the thread that made it; its callback is not called any more.
napi_value CloseWaker(napi_env env, napi_callback_info info);

}  // namespace lockstep
