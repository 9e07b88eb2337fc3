#pragma once

#include <napi.h>
#include <pthread.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/backend.h"

namespace attn::binding {

/// A way from any thread to the JavaScript thread of one environment. Outlives the environment: what is posted after its
/// end is dropped.
class JsThread : public std::enable_shared_from_this<JsThread> {
 public:
  using Call = std::function<void(Napi::Env)>;

  /// Runs `call` on the JavaScript thread soon. From any thread.
  void post(Call call);
  /// While held (on the JavaScript thread), the event loop stays alive.
  void hold();
  void let_go();

  /// Something that may only be touched and destroyed on the JavaScript thread, kept there under a number that any thread
  /// may hold. What is still kept when the environment ends dies with it.
  struct Kept {
    virtual ~Kept() = default;
  };
  std::uint64_t keep(std::unique_ptr<Kept> kept);
  std::unique_ptr<Kept> take(std::uint64_t number);
  /// Takes it and lets it die, now or soon. From any thread.
  void let_die(std::uint64_t number);

  static std::shared_ptr<JsThread> create(Napi::Env env);

 private:
  static void run_call(napi_env env, napi_value, void* context, void* data);
  static void end(void* self);

  const pthread_t id_ = pthread_self();
  std::mutex mutex_;
  napi_env env_ = nullptr;
  napi_threadsafe_function function_ = nullptr;
  bool closed_ = false;
  int held_ = 0;
  std::uint64_t last_kept_ = 0;
  std::map<std::uint64_t, std::unique_ptr<Kept>> kept_;
  CancelFlag cancel_;
};

/// What one environment (the main thread's or a worker's) owns of the addon.
struct Environment {
  std::shared_ptr<JsThread> thread;
  Napi::Reference<Napi::Int32Array> put_off;  // [1], what current_put_off() points to on this thread
};
Environment& environment_of(Napi::Env env);
void set_up_environment(Napi::Env env);

/// A promise that settles when all that has been enqueued on the device so far has run. `hold` stays referenced until
/// then; `finish` makes the value it resolves with from the device's failure text ('' when there is none).
Napi::Value promise_after_queue(Napi::Env env, Backend& backend, Napi::Value hold, bool clear_failure,
                                std::function<Napi::Value(Napi::Env, const std::string& failure)> finish);
/// The device's failure text once all enqueued so far has run: as a text where that is now, else as such a promise.
Napi::Value failure_after_queue(Napi::Env env, Backend& backend, Napi::Value hold, bool clear_failure);

}  // namespace attn::binding
