// The op by which a graph writes a result straight to where it belongs.
#pragma once

#include <string>

namespace lockstep {

// Makes the op LockstepStore known to TensorFlow, once per process. Empty, or in TensorFlow's words why not.
std::string RegisterStoreOp();

}  // namespace lockstep
