#include "memory.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace lockstep {

napi_value KeepMemory(napi_env, napi_callback_info) {
#if defined(__GLIBC__)
  // The largest threshold that glibc takes: arrays above it are mapped one by one all the same.
  mallopt(M_MMAP_THRESHOLD, 32 * 1024 * 1024);
  mallopt(M_TRIM_THRESHOLD, 1024 * 1024 * 1024);
  mallopt(M_TOP_PAD, 64 * 1024 * 1024);
#endif
  return nullptr;
}

}  // namespace lockstep
