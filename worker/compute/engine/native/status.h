// A TF_Status that is deleted when it goes out of scope.
#pragma once

#include <string>

#include "tensorflow/c/tf_status.h"

namespace lockstep {

class Status {
 public:
  Status() : status_(TF_NewStatus()) {}
  ~Status() { TF_DeleteStatus(status_); }
  Status(const Status&) = delete;
  Status& operator=(const Status&) = delete;

  operator TF_Status*() const { return status_; }
  bool ok() const { return TF_GetCode(status_) == TF_OK; }
  std::string message() const { return TF_Message(status_); }
  void Set(TF_Code code, const char* message) const { TF_SetStatus(status_, code, message); }

 private:
  TF_Status* const status_;
};

}  // namespace lockstep
