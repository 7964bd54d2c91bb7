#include "graph.h"

#include "script.h"
#include "session.h"

namespace lockstep {
namespace {

std::string Text(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) return "";
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

std::vector<Feed> FeedsOf(napi_env env, napi_value array) {
  std::vector<Feed> feeds(Length(env, array));
  for (uint32_t i = 0; i < feeds.size(); i++) {
    const napi_value feed = Element(env, array, i);
    const napi_value shape = Property(env, feed, "shape");
    feeds[i].name = Text(env, Property(env, feed, "name"));
    feeds[i].type = static_cast<TF_DataType>(Number(env, Property(env, feed, "dtype")));
    for (uint32_t axis = 0; axis < Length(env, shape); axis++) {
      feeds[i].shape.push_back(static_cast<int64_t>(Number(env, Element(env, shape, axis))));
    }
  }
  return feeds;
}

std::vector<Output> OutputsOf(napi_env env, napi_value array) {
  std::vector<Output> outputs(Length(env, array));
  for (uint32_t i = 0; i < outputs.size(); i++) {
    const napi_value output = Element(env, array, i);
    napi_valuetype type;
    if (napi_typeof(env, output, &type) != napi_ok || type == napi_null) continue;
    outputs[i].name = Text(env, Property(env, output, "name"));
    outputs[i].index = static_cast<int>(Number(env, Property(env, output, "output")));
  }
  return outputs;
}

Session* SessionOf(napi_env env, napi_value value) {
  void* session = nullptr;
  napi_get_value_external(env, value, &session);
  return static_cast<Session*>(session);
}

// An Int32Array in `object`; null where it is none.
int32_t* Integers(napi_env env, napi_value object, const char* name, int64_t* length = nullptr) {
  const View view(env, Property(env, object, name));
  if (!view.valid || view.type != napi_int32_array) return nullptr;
  if (length != nullptr) *length = static_cast<int64_t>(view.length);
  return static_cast<int32_t*>(view.data);
}

// Empty, or what the caller has wrong. `numPieces` says of each bucket how many pieces it waits for.
std::string SignalsOf(napi_env env, napi_value object, size_t num_targets, Signals* signals) {
  int64_t num_words = 0;
  int64_t num_buckets = 0;
  signals->words = Integers(env, object, "words", &num_words);
  signals->first = Integers(env, object, "first", &signals->num_first);
  signals->buckets = Integers(env, object, "buckets");
  signals->elements = Integers(env, object, "elements");
  const int32_t* const num_pieces = Integers(env, object, "numPieces", &num_buckets);
  if (signals->words == nullptr || signals->first == nullptr || signals->buckets == nullptr ||
      signals->elements == nullptr || num_pieces == nullptr) {
    return "Signals are not Int32Arrays";
  }
  if (num_words < num_buckets) return "There are fewer words than buckets";
  if (signals->num_first != static_cast<int64_t>(num_targets) + 1) return "Signals are for other targets";
  signals->value = static_cast<int32_t>(Number(env, Property(env, object, "value")));
  signals->waker = static_cast<uint32_t>(Number(env, Property(env, object, "waker")));
  signals->pending.reset(new std::atomic<int32_t>[num_buckets]);
  for (int64_t bucket = 0; bucket < num_buckets; bucket++) signals->pending[bucket] = num_pieces[bucket];
  return "";
}

std::string FillIn(napi_env env, Session* session, napi_value feeds, napi_value targets) {
  if (Length(env, feeds) != session->num_feeds()) return "There are more or fewer feeds than placeholders";
  if (Length(env, targets) < session->run.targets.size()) return "There are fewer targets than outputs";
  for (uint32_t i = 0; i < session->num_feeds(); i++) {
    const View view(env, Element(env, feeds, i));
    if (!view.valid) return "A feed is no typed array";
    const std::string failure = session->SetFeed(i, view.data, view.bytes());
    if (!failure.empty()) return failure;
  }
  for (uint32_t i = 0; i < session->run.targets.size(); i++) {
    const View view(env, Element(env, targets, i));
    if (!view.valid || view.type != napi_float32_array) return "A target is no Float32Array";
    session->run.targets[i] = {static_cast<float*>(view.data), static_cast<int64_t>(view.length)};
  }
  return "";
}

}  // namespace

napi_value CreateGraph(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const napi_value options = arguments[0];
  const View graph_def(env, Property(env, options, "graphDef"));
  const View config(env, Property(env, options, "config"));
  if (!graph_def.valid || !config.valid) return Throw(env, "A graph needs the bytes of a GraphDef and of a ConfigProto");
  auto* const session = new Session;
  const std::string failure =
      session->Open(graph_def.data, graph_def.bytes(), config.data, config.bytes(),
                    FeedsOf(env, Property(env, options, "feeds")), OutputsOf(env, Property(env, options, "outputs")),
                    static_cast<int64_t>(Number(env, Property(env, options, "numPlain"))));
  napi_value result = nullptr;
  const auto finalize = [](napi_env, void* data, void*) { delete static_cast<Session*>(data); };
  if (failure.empty() && napi_create_external(env, session, finalize, nullptr, &result) == napi_ok) return result;
  delete session;
  return Throw(env, failure.empty() ? "A graph could not be handed over" : failure);
}

napi_value RunGraph(napi_env env, napi_callback_info info) {
  const Arguments<6> arguments(env, info);
  Session* const session = SessionOf(env, arguments[0]);
  if (session == nullptr) return Throw(env, "There is no such graph");
  std::string failure = FillIn(env, session, arguments[1], arguments[2]);
  Run& run = session->run;
  run.weight = static_cast<float>(Number(env, arguments[3]));
  run.accumulate = Boolean(env, arguments[4]);
  Signals signals;
  napi_valuetype type;
  if (failure.empty() && napi_typeof(env, arguments[5], &type) == napi_ok && type == napi_object) {
    failure = SignalsOf(env, arguments[5], run.targets.size(), &signals);
    run.signals = &signals;
  }
  if (failure.empty()) failure = session->Start();
  run.signals = nullptr;
  return failure.empty() ? nullptr : Throw(env, failure);
}

napi_value CloseGraph(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Session* const session = SessionOf(env, arguments[0]);
  if (session != nullptr) session->Close();
  return nullptr;
}

napi_value NumGraphs(napi_env env, napi_callback_info) {
  napi_value number;
  return napi_create_uint32(env, static_cast<uint32_t>(NumRuns()), &number) == napi_ok ? number : nullptr;
}

}  // namespace lockstep
