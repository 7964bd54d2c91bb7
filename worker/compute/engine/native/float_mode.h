// Denormals count: TensorFlow's pool threads flush them to zero, the kernels of src/kernels do not, and a weighed gradient
// has to have the same bits on either.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
#include <cstdint>
#endif

namespace lockstep {

// For its lifetime this thread neither flushes denormals nor reads them as zeros.
class ExactFloats {
 public:
  ExactFloats(const ExactFloats&) = delete;
  ExactFloats& operator=(const ExactFloats&) = delete;

#if defined(__SSE2__)
  ExactFloats() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ & ~kFlush); }
  ~ExactFloats() { _mm_setcsr(saved_); }

 private:
  static constexpr unsigned kFlush = 0x8040;  // flush-to-zero and denormals-are-zeros
  const unsigned saved_;
#elif defined(__aarch64__)
  ExactFloats() {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ & ~kFlush));
  }
  ~ExactFloats() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }

 private:
  static constexpr uint64_t kFlush = uint64_t{1} << 24;
  uint64_t saved_;
#else
  ExactFloats() {}
#endif
};

}  // namespace lockstep
