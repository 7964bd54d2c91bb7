#include "session.h"

#include "status.h"

namespace lockstep {
namespace {

// Eigen's kernels use memory in place that begins on such a boundary; TensorFlow copies other memory.
constexpr uintptr_t kAlignment = 64;

void KeepMemory(void*, size_t, void*) {}

size_t BytesOf(const Feed& feed) {
  size_t elements = 1;
  for (const int64_t extent : feed.shape) elements *= static_cast<size_t>(extent);
  return elements * TF_DataTypeSize(feed.type);
}

}  // namespace

Session::Session() : run_id_(OpenRun(&run)), graph_(TF_NewGraph()) {}

Session::~Session() { Close(); }

std::string Session::Open(const void* graph_def, size_t graph_bytes, const void* config, size_t config_bytes,
                          const std::vector<Feed>& feeds, const std::vector<Output>& outputs, int64_t num_plain) {
  std::string failure = Import(graph_def, graph_bytes);
  if (!failure.empty()) return failure;
  for (const Feed& feed : feeds) {
    TF_Operation* const placeholder = TF_GraphOperationByName(graph_, feed.name.c_str());
    if (placeholder == nullptr) return "there is no placeholder " + feed.name;
    FedTensor fed;
    fed.feed = feed;
    feeds_.push_back(fed);
    inputs_.push_back({placeholder, 0});
  }
  input_tensors_.resize(feeds_.size());
  failure = AddStores(outputs, num_plain);
  if (!failure.empty()) return failure;

  const Status status;
  TF_SessionOptions* const options = TF_NewSessionOptions();
  TF_SetConfig(options, config, config_bytes, status);
  if (status.ok()) session_ = TF_NewSession(graph_, options, status);
  TF_DeleteSessionOptions(options);
  return status.ok() ? "" : status.message();
}

std::string Session::Import(const void* graph_def, size_t graph_bytes) {
  const Status status;
  TF_Buffer* const buffer = TF_NewBufferFromString(graph_def, graph_bytes);
  TF_ImportGraphDefOptions* const options = TF_NewImportGraphDefOptions();
  TF_GraphImportGraphDef(graph_, buffer, options, status);
  TF_DeleteImportGraphDefOptions(options);
  TF_DeleteBuffer(buffer);
  return status.ok() ? "" : status.message();
}

std::string Session::AddStores(const std::vector<Output>& outputs, int64_t num_plain) {
  run.targets.resize(outputs.size());
  for (size_t target = 0; target < outputs.size(); target++) {
    const Output& output = outputs[target];
    if (output.name.empty()) {
      zeros_.push_back(static_cast<int64_t>(target));
      continue;
    }
    TF_Operation* const source = TF_GraphOperationByName(graph_, output.name.c_str());
    if (source == nullptr) return "there is no node " + output.name;
    const Status status;
    const std::string name = "store" + std::to_string(target);
    TF_OperationDescription* const store = TF_NewOperation(graph_, "LockstepStore", name.c_str());
    TF_AddInput(store, {source, output.index});
    TF_SetAttrInt(store, "run", run_id_);
    TF_SetAttrInt(store, "target", static_cast<int64_t>(target));
    TF_SetAttrBool(store, "plain", static_cast<int64_t>(target) < num_plain);
    TF_SetDevice(store, "/device:CPU:0");
    const TF_Operation* const made = TF_FinishOperation(store, status);
    if (!status.ok()) return status.message();
    stores_.push_back(made);
  }
  return "";
}

std::string Session::SetFeed(size_t index, void* data, size_t bytes) {
  FedTensor& fed = feeds_[index];
  const bool aligned = reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
  if (fed.tensor != nullptr && aligned && fed.data == data) return "";
  if (bytes != BytesOf(fed.feed)) {
    return fed.feed.name + " has " + std::to_string(bytes) + " bytes, expected " + std::to_string(BytesOf(fed.feed));
  }
  if (fed.tensor != nullptr) TF_DeleteTensor(fed.tensor);
  fed.tensor = TF_NewTensor(fed.feed.type, fed.feed.shape.data(), static_cast<int>(fed.feed.shape.size()), data, bytes,
                            KeepMemory, nullptr);
  // A copy is of now: it is not used again.
  fed.data = aligned ? data : nullptr;
  input_tensors_[index] = fed.tensor;
  return fed.tensor == nullptr ? "TensorFlow takes no such tensor" : "";
}

std::string Session::Start() {
  for (const int64_t target : zeros_) run.Store(target, nullptr, false);
  const Status status;
  TF_SessionRun(session_, nullptr, inputs_.data(), input_tensors_.data(), static_cast<int>(inputs_.size()), nullptr,
                nullptr, 0, stores_.data(), static_cast<int>(stores_.size()), nullptr, status);
  return status.ok() ? "" : status.message();
}

void Session::Close() {
  if (graph_ == nullptr) return;
  const Status status;  // Nothing can be done about a failure here.
  if (session_ != nullptr) TF_DeleteSession(session_, status);
  TF_DeleteGraph(graph_);
  for (const FedTensor& fed : feeds_) {
    if (fed.tensor != nullptr) TF_DeleteTensor(fed.tensor);
  }
  graph_ = nullptr;
  session_ = nullptr;
  feeds_.clear();
  CloseRun(run_id_);
}

}  // namespace lockstep
