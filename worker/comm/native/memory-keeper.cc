// A process that keeps this one's memory for as long as this one lives, and a moment longer.
//
// When a process is killed, Linux frees its memory first, some 0.1 ms for each MiB, and then closes its sockets: only then do
// others hear of its end. Memory that another process has too is not freed, and the sockets close at once. The keeper is that other
// process: it shares this one's memory and nothing else, and sleeps until this one has ended.
//
//   keepMemory()   starts it, once. Whether there is one.
//
// It has this process's memory, thread-local variables too, so it calls nothing but the system, and takes no signal but SIGKILL:
// handlers of this process would run in it.

#include "memory-keeper.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace {

constexpr size_t kStackBytes = 64 * 1024;

int Keep(void* argument) {
  const auto process = static_cast<pid_t>(reinterpret_cast<intptr_t>(argument));
  // It has copies of this process's sockets, and would keep them open.
  if (syscall(SYS_close_range, 0U, ~0U, 0U) != 0) return 1;
  syscall(SYS_prctl, PR_SET_NAME, "lockstep-memory", 0, 0, 0);
  pollfd end = {static_cast<int>(syscall(SYS_pidfd_open, process, 0)), POLLIN, 0};
  if (end.fd < 0 || syscall(SYS_getppid) != process) return 1;
  // Until every thread has ended, and with the last of them the sockets.
  while (syscall(SYS_ppoll, &end, 1, nullptr, nullptr, 0) < 1) continue;
  return 0;
}

bool Start() {
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return false;
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  void* process = reinterpret_cast<void*>(static_cast<intptr_t>(getpid()));
  const int keeper = clone(Keep, static_cast<char*>(stack) + kStackBytes, CLONE_VM, process);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return keeper > 0;
}

}  // namespace

napi_value KeepMemory(napi_env env, napi_callback_info) {
  static const bool is_kept = Start();
  napi_value result;
  napi_get_boolean(env, is_kept, &result);
  return result;
}
