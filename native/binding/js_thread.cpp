#include "binding/js_thread.h"

#include <utility>

#include "cpu/spin.h"

namespace attn::binding {

std::shared_ptr<JsThread> JsThread::create(Napi::Env env) {
  auto thread = std::make_shared<JsThread>();
  thread->env_ = env;
  thread->cancel_ = current_cancel_flag() = std::make_shared<std::atomic<bool>>(false);
  const Napi::String name = Napi::String::New(env, "node-flash-attention");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, &JsThread::run_call, &thread->function_) != napi_ok) {
    throw Napi::Error::New(env, "napi_create_threadsafe_function failed");
  }
  napi_unref_threadsafe_function(env, thread->function_);
  // Registered after the function above, so it runs before Node takes that down.
  napi_add_env_cleanup_hook(env, &JsThread::end, new std::shared_ptr<JsThread>(thread));
  return thread;
}

/// The environment ends: its queued work is skipped, and what runs at this moment is waited for, since it may point into
/// memory that JavaScript owns.
void JsThread::end(void* self) {
  auto* held = static_cast<std::shared_ptr<JsThread>*>(self);
  JsThread& thread = **held;
  thread.cancel_->store(true);
  current_put_off() = nullptr;
  {
    std::lock_guard lock(thread.mutex_);
    thread.closed_ = true;
  }
  for (Backend* backend : opened_backends()) backend->wait_for_cancelled(thread.cancel_);
  thread.kept_.clear();
  delete held;
}

std::uint64_t JsThread::keep(std::unique_ptr<Kept> kept) {
  kept_[++last_kept_] = std::move(kept);
  return last_kept_;
}

std::unique_ptr<JsThread::Kept> JsThread::take(std::uint64_t number) {
  auto found = kept_.find(number);
  if (found == kept_.end()) return nullptr;
  std::unique_ptr<Kept> kept = std::move(found->second);
  kept_.erase(found);
  return kept;
}

void JsThread::let_die(std::uint64_t number) {
  if (pthread_equal(pthread_self(), id_)) {
    take(number);
  } else {
    post([self = shared_from_this(), number](Napi::Env) { self->take(number); });
  }
}

void JsThread::post(Call call) {
  std::lock_guard lock(mutex_);
  if (closed_) return;
  auto* data = new Call(std::move(call));
  cpu::threads_told().fetch_add(1, std::memory_order_relaxed);
  if (napi_call_threadsafe_function(function_, data, napi_tsfn_nonblocking) == napi_ok) return;
  cpu::threads_told().fetch_sub(1, std::memory_order_relaxed);
  delete data;
}

void JsThread::run_call(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<Call> call(static_cast<Call*>(data));
  cpu::threads_told().fetch_sub(1, std::memory_order_relaxed);
  if (!env) return;  // taken down with calls still in it
  Napi::HandleScope scope(env);
  try {
    (*call)(Napi::Env(env));
  } catch (const Napi::Error&) {
    // A terminated worker runs no more JavaScript: there is nobody to settle a promise for.
  }
}

void JsThread::hold() {
  if (held_++ == 0) napi_ref_threadsafe_function(env_, function_);
}

void JsThread::let_go() {
  if (--held_ == 0) napi_unref_threadsafe_function(env_, function_);
}

Environment& environment_of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void set_up_environment(Napi::Env env) {
  Napi::Int32Array put_off = Napi::Int32Array::New(env, 1);
  current_put_off() = put_off.Data();
  env.SetInstanceData(new Environment{JsThread::create(env), Napi::Persistent(put_off)});
}

Napi::Value promise_after_queue(Napi::Env env, Backend& backend, Napi::Value hold, bool clear_failure,
                                std::function<Napi::Value(Napi::Env, const std::string&)> finish) {
  struct Pending : JsThread::Kept {
    explicit Pending(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
    Napi::Promise::Deferred deferred;
    Napi::Reference<Napi::Value> hold;
    std::function<Napi::Value(Napi::Env, const std::string&)> finish;
  };
  std::shared_ptr<JsThread> thread = environment_of(env).thread;
  auto pending = std::make_unique<Pending>(env);
  pending->finish = std::move(finish);
  if (hold.IsObject()) pending->hold = Napi::Reference<Napi::Value>::New(hold, 1);
  const Napi::Promise promise = pending->deferred.Promise();
  const std::uint64_t number = thread->keep(std::move(pending));
  thread->hold();
  backend.when_reached(current_cancel_flag(), [thread, number, clear_failure, &backend] {
    thread->post([thread, number, failure = backend.failure(clear_failure)](Napi::Env env) {
      thread->let_go();
      const std::unique_ptr<JsThread::Kept> kept = thread->take(number);
      auto& settled = static_cast<Pending&>(*kept);
      try {
        settled.deferred.Resolve(settled.finish(env, failure));
      } catch (const Napi::Error& error) {
        settled.deferred.Reject(error.Value());
      }
    });
  });
  return promise;
}

Napi::Value failure_after_queue(Napi::Env env, Backend& backend, Napi::Value hold, bool clear_failure) {
  if (backend.finish_put_off()) return Napi::String::New(env, backend.failure(clear_failure));
  return promise_after_queue(env, backend, hold, clear_failure,
                             [](Napi::Env env, const std::string& failure) -> Napi::Value { return Napi::String::New(env, failure); });
}

}  // namespace attn::binding
