// Pages of a worker's flat memory that other processes of the same host can map. WebAssembly memory is anonymous memory of
// V8's own; its pages are replaced in place, which V8 does not notice: a memory of fixed size is never moved or resized.
//
//   useLargePages(bytes)               asks for pages of 2 MiB where whole ones lie in `bytes`; without them all is as well, and slower
//   share(bytes, from)                 backs `bytes` from there on with a memfd, which is as long as `bytes`, and returns its number
//   mount(bytes, fd, offset)           puts a file's pages from `offset` on in the place of `bytes`, for reading only
//   restore(bytes, fd, offset)         puts the pages of this process's own memfd back in the place of `bytes`
//   close(fd)                          forgets a memfd; whoever has mapped it keeps its pages
//   awaitWord(words, index, atLeast, timeoutMs)   blocks until a word is that large, which another process writes
//   wake(words, index)                 wakes who waits for a word, in any process
//   adam(…)                            adam.h
//   keepMemory()                       memory-keeper.cc
//
// `bytes` is a Uint8Array over shared memory that begins on a page and has whole pages. Failures throw Error with the name of
// the system call and its errno.

#include <errno.h>
#include <node_api.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "adam.h"
#include "memory-keeper.h"

namespace {

struct Range {
  void* start;
  size_t length;
};

napi_value Fail(napi_env env, const char* call) {
  char text[200];
  snprintf(text, sizeof text, "%s: %s", call, strerror(errno));
  napi_throw_error(env, nullptr, text);
  return nullptr;
}

bool Arguments(napi_env env, napi_callback_info info, size_t count, napi_value* values) {
  size_t found = count;
  if (napi_get_cb_info(env, info, &found, values, nullptr, nullptr) == napi_ok && found == count) return true;
  napi_throw_type_error(env, nullptr, "wrong number of arguments");
  return false;
}

bool GetRange(napi_env env, napi_value value, Range* range) {
  napi_typedarray_type type;
  size_t length = 0;
  void* start = nullptr;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const bool is_bytes = napi_get_typedarray_info(env, value, &type, &length, &start, nullptr, nullptr) == napi_ok &&
                        type == napi_uint8_array;
  if (is_bytes && length > 0 && length % page == 0 && reinterpret_cast<uintptr_t>(start) % page == 0) {
    *range = {start, length};
    return true;
  }
  napi_throw_type_error(env, nullptr, "expected a Uint8Array of whole pages");
  return false;
}

bool GetNumber(napi_env env, napi_value value, int64_t* number) {
  if (napi_get_value_int64(env, value, number) == napi_ok && *number >= 0) return true;
  napi_throw_type_error(env, nullptr, "expected a number of at least 0");
  return false;
}

napi_value UseLargePages(napi_env env, napi_callback_info info) {
  napi_value argument;
  Range range;
  if (!Arguments(env, info, 1, &argument) || !GetRange(env, argument, &range)) return nullptr;
  madvise(range.start, range.length, MADV_HUGEPAGE);  // which a kernel without them refuses
  return nullptr;
}

napi_value Share(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  Range range;
  int64_t from = 0;
  if (!Arguments(env, info, 2, arguments) || !GetRange(env, arguments[0], &range)) return nullptr;
  if (!GetNumber(env, arguments[1], &from)) return nullptr;
  const int file = memfd_create("lockstep", MFD_CLOEXEC);
  if (file < 0) return Fail(env, "memfd_create");
  if (ftruncate(file, static_cast<off_t>(range.length)) != 0 ||
      mmap(static_cast<char*>(range.start) + from, range.length - from, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
           file, from) == MAP_FAILED) {
    Fail(env, "mmap of a memfd");
    close(file);
    return nullptr;
  }
  napi_value result;
  napi_create_int32(env, file, &result);
  return result;
}

napi_value Map(napi_env env, napi_callback_info info, int protection) {
  napi_value arguments[3];
  Range range;
  int64_t file = 0;
  int64_t offset = 0;
  if (!Arguments(env, info, 3, arguments) || !GetRange(env, arguments[0], &range)) return nullptr;
  if (!GetNumber(env, arguments[1], &file) || !GetNumber(env, arguments[2], &offset)) return nullptr;
  const int flags = MAP_SHARED | MAP_FIXED;
  if (mmap(range.start, range.length, protection, flags, static_cast<int>(file), offset) == MAP_FAILED) Fail(env, "mmap");
  return nullptr;
}

napi_value Mount(napi_env env, napi_callback_info info) {
  return Map(env, info, PROT_READ);
}

napi_value Restore(napi_env env, napi_callback_info info) {
  return Map(env, info, PROT_READ | PROT_WRITE);
}

napi_value Close(napi_env env, napi_callback_info info) {
  napi_value argument;
  int64_t file = 0;
  if (!Arguments(env, info, 1, &argument) || !GetNumber(env, argument, &file)) return nullptr;
  close(static_cast<int>(file));
  return nullptr;
}

// A word of shared memory: how large it is, whoever has written it.
bool GetWord(napi_env env, napi_value array, napi_value index, int32_t** word) {
  napi_typedarray_type type;
  size_t length = 0;
  void* start = nullptr;
  int64_t place = 0;
  if (napi_get_typedarray_info(env, array, &type, &length, &start, nullptr, nullptr) != napi_ok ||
      type != napi_int32_array) {
    napi_throw_type_error(env, nullptr, "expected an Int32Array");
    return false;
  }
  if (!GetNumber(env, index, &place)) return false;
  if (static_cast<size_t>(place) >= length) {
    napi_throw_range_error(env, nullptr, "there is no such word");
    return false;
  }
  *word = static_cast<int32_t*>(start) + place;
  return true;
}

int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

// A peer that computes on another core tells within this time, more often than not; waking from a sleep takes as long.
constexpr int64_t kSpinNs = 200000;

napi_value AwaitWord(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  int32_t* word = nullptr;
  int32_t at_least = 0;
  int64_t timeout_ms = 0;
  if (!Arguments(env, info, 4, arguments) || !GetWord(env, arguments[0], arguments[1], &word)) return nullptr;
  if (napi_get_value_int32(env, arguments[2], &at_least) != napi_ok) {
    napi_throw_type_error(env, nullptr, "expected a number");
    return nullptr;
  }
  if (!GetNumber(env, arguments[3], &timeout_ms)) return nullptr;
  const int64_t begun = NowNs();
  const int64_t until = begun + timeout_ms * 1000000;
  int32_t value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
  for (int64_t now = begun; value < at_least && now < until; now = NowNs()) {
    if (now - begun < kSpinNs) {
      sched_yield();  // the peer may wait for this very core
    } else {
      const timespec left = {(until - now) / 1000000000, (until - now) % 1000000000};
      syscall(SYS_futex, word, FUTEX_WAIT, value, &left, nullptr, 0);
    }
    value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
  }
  napi_value result;
  napi_get_boolean(env, value >= at_least, &result);
  return result;
}

napi_value Wake(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  int32_t* word = nullptr;
  if (!Arguments(env, info, 2, arguments) || !GetWord(env, arguments[0], arguments[1], &word)) return nullptr;
  syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
  return nullptr;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace

NAPI_MODULE_INIT() {
  Export(env, exports, "useLargePages", UseLargePages);
  Export(env, exports, "share", Share);
  Export(env, exports, "mount", Mount);
  Export(env, exports, "restore", Restore);
  Export(env, exports, "close", Close);
  Export(env, exports, "awaitWord", AwaitWord);
  Export(env, exports, "wake", Wake);
  Export(env, exports, "adam", lockstep::Adam);
  Export(env, exports, "keepMemory", KeepMemory);
  return exports;
}
