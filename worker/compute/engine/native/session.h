// A graph with its store ops in a session of TensorFlow. Knows nothing of JavaScript.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "run.h"
#include "tensorflow/c/c_api.h"

namespace lockstep {

// A placeholder that is given a value at each run.
struct Feed {
  std::string name;
  TF_DataType type = TF_FLOAT;
  std::vector<int64_t> shape;
};

// An output of a node that is stored; no name for one that is zeros.
struct Output {
  std::string name;
  int index = 0;
};

class Session {
 public:
  Session();
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // `config` is a ConfigProto. The first `num_plain` outputs are stored as they are. Empty, or why it cannot be.
  std::string Open(const void* graph_def, size_t graph_bytes, const void* config, size_t config_bytes,
                   const std::vector<Feed>& feeds, const std::vector<Output>& outputs, int64_t num_plain);

  // Gives feed `index` its value: `data` stays where it is until the run is over. Empty, or why it cannot be.
  std::string SetFeed(size_t index, void* data, size_t bytes);

  // Runs the graph on `run` as it is filled in. Empty, or in TensorFlow's words what failed.
  std::string Start();

  void Close();

  Run run;
  size_t num_feeds() const { return feeds_.size(); }

 private:
  // The tensor over an array. It is used again as long as the array is the same: the weights' tensors are made once.
  struct FedTensor {
    Feed feed;
    void* data = nullptr;
    TF_Tensor* tensor = nullptr;
  };

  std::string Import(const void* graph_def, size_t graph_bytes);
  std::string AddStores(const std::vector<Output>& outputs, int64_t num_plain);

  const int64_t run_id_;
  TF_Graph* graph_;
  TF_Session* session_ = nullptr;
  std::vector<FedTensor> feeds_;
  std::vector<TF_Output> inputs_;
  std::vector<TF_Tensor*> input_tensors_;
  std::vector<const TF_Operation*> stores_;
  // Targets of outputs that are zeros, and whether each is plain.
  std::vector<int64_t> zeros_;
};

}  // namespace lockstep
