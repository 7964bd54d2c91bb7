// What the store ops of one graph know of the run that they are part of. The graph's owner fills it in before the run;
// during the run each store op writes its own target, on whatever thread TensorFlow gives it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace lockstep {

// Where the output of one store op goes.
struct Target {
  float* data = nullptr;
  int64_t elements = 0;
};

// Which buckets hold a target, and who is told when all of a bucket is there. The arrays belong to the caller of the run.
struct Signals {
  int32_t* words = nullptr;  // one for each bucket, shared with other threads
  int32_t value = 0;         // what a ready bucket's word becomes
  uint32_t waker = 0;        // 0: nobody is woken
  // Target t lies in the pieces first[t] to first[t + 1] - 1, in its order: piece p is `elements[p]` of bucket `buckets[p]`.
  const int32_t* first = nullptr;
  const int32_t* buckets = nullptr;
  const int32_t* elements = nullptr;
  int64_t num_first = 0;
  // Pieces of each bucket that are not there yet.
  std::unique_ptr<std::atomic<int32_t>[]> pending;

  // One more piece of the bucket is there, and was written before this call.
  void PieceStored(int32_t bucket);
};

struct Run {
  std::vector<Target> targets;
  float weight = 1;
  bool accumulate = false;
  Signals* signals = nullptr;  // null where nobody is told

  // Writes `values` (null: zeros) to a target. `plain` targets take the values as they are; the others
  //   target = values * weight, or with `accumulate` target = target + values * weight,
  // where each product and sum is rounded to float32: the bits of the `scale` and `add` kernels of src/kernels.
  void Store(int64_t target, const float* values, bool plain);
};

// Runs that are open in this process, so that an op of a graph finds its own by the number in its attribute.
int64_t OpenRun(Run* run);
void CloseRun(int64_t id);
Run* FindRun(int64_t id);
size_t NumRuns();

}  // namespace lockstep
