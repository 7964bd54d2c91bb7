#include "run.h"

#include <cstring>
#include <map>
#include <mutex>

#include "float_mode.h"
#include "waker.h"

namespace lockstep {
namespace {

// `out` and `in` are different memory; `in` may be null for zeros.
void Write(float* __restrict out, const float* __restrict in, int64_t n, float weight, bool accumulate) {
  if (accumulate) {
    if (in == nullptr) {
      for (int64_t i = 0; i < n; i++) out[i] = out[i] + 0.0f;
    } else {
      for (int64_t i = 0; i < n; i++) out[i] = out[i] + in[i] * weight;
    }
  } else if (in == nullptr) {
    std::memset(out, 0, n * sizeof(float));
  } else if (weight == 1) {
    std::memcpy(out, in, n * sizeof(float));
  } else {
    for (int64_t i = 0; i < n; i++) out[i] = in[i] * weight;
  }
}

}  // namespace

void Signals::PieceStored(int32_t bucket) {
  // Release and acquire: whoever stores the last piece has seen the writes of all the others.
  if (pending[bucket].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  __atomic_store_n(&words[bucket], value, __ATOMIC_SEQ_CST);
  if (waker != 0) Wake(waker);
}

void Run::Store(int64_t index, const float* values, bool plain) {
  const ExactFloats exact;
  const Target& target = targets[index];
  if (plain || signals == nullptr) {
    Write(target.data, values, target.elements, plain ? 1 : weight, accumulate && !plain);
    return;
  }
  int64_t at = 0;
  for (int32_t piece = signals->first[index]; piece < signals->first[index + 1]; piece++) {
    const int64_t size = signals->elements[piece];
    Write(target.data + at, values == nullptr ? nullptr : values + at, size, weight, accumulate);
    signals->PieceStored(signals->buckets[piece]);
    at += size;
  }
}

namespace {

std::mutex runs_mutex;
std::map<int64_t, Run*> runs;
int64_t last_id = 0;

}  // namespace

int64_t OpenRun(Run* run) {
  const std::lock_guard<std::mutex> lock(runs_mutex);
  runs[++last_id] = run;
  return last_id;
}

void CloseRun(int64_t id) {
  const std::lock_guard<std::mutex> lock(runs_mutex);
  runs.erase(id);
}

Run* FindRun(int64_t id) {
  const std::lock_guard<std::mutex> lock(runs_mutex);
  const auto found = runs.find(id);
  return found == runs.end() ? nullptr : found->second;
}

size_t NumRuns() {
  const std::lock_guard<std::mutex> lock(runs_mutex);
  return runs.size();
}

}  // namespace lockstep
