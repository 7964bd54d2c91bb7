// A compiled step as a session of its own in TensorFlow: values go in from JavaScript's arrays without a copy, and come out
// through store ops. The interface, with what each argument is, is in native-addon.ts.
#pragma once

#include <node_api.h>

namespace lockstep {

// createGraph({ graphDef, config, feeds, outputs, numPlain }): a graph
napi_value CreateGraph(napi_env env, napi_callback_info info);
// runGraph(graph, feeds, targets, weight, accumulate, signals | undefined): void
napi_value RunGraph(napi_env env, napi_callback_info info);
// closeGraph(graph): void. Frees what TensorFlow holds, before the garbage collector would.
napi_value CloseGraph(napi_env env, napi_callback_info info);
// numGraphs(): number
napi_value NumGraphs(napi_env env, napi_callback_info info);

}  // namespace lockstep
