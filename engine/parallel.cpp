// A small pool of threads in place of an OpenMP team. OpenMP ends a loop with a barrier at which threads spin: when one of
// them has lost its core to another program, all wait for it, and a training step of 20 ms took 140 ms beside a compiler.
// Here a loop is cut into a few chunks that are claimed one by one. A helper that comes late finds nothing left to do and
// nobody waits for it; one that has nothing to do sleeps after a short while. Who computes a chunk changes no result.
#include "engine/parallel.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

namespace gradus {
namespace {

struct Job {
  ChunkBody body;
  const void* f;
  Index n, chunks;
  std::atomic<Index> next{0}, unfinished;
  std::exception_ptr first_error;  // an exception goes to the thread that started the loop
  std::mutex error_mutex;

  Job(ChunkBody b, const void* g, Index size, Index count) : body(b), f(g), n(size), chunks(count), unfinished(count) {}

  void work() {
    for (Index c = next++; c < chunks; c = next++) {
      try {
        body(f, n * c / chunks, n * (c + 1) / chunks);
      } catch (...) {
        const std::lock_guard lock(error_mutex);
        if (!first_error) first_error = std::current_exception();
      }
      if (--unfinished == 0) unfinished.notify_all();
    }
  }
  void wait() {
    for (Index left = unfinished; left > 0; left = unfinished) unfinished.wait(left);
  }
};

thread_local bool inside_a_loop = false;

// OMP_NUM_THREADS as OpenMP programs read it, else the processors that this process may use.
int default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS")) {
    int n = 0;
    if (std::from_chars(text, text + std::strlen(text), n).ec == std::errc() && n > 0) return n;
  }
  return std::max(1, int(std::thread::hardware_concurrency()));
}

class Pool {
 public:
  std::atomic<int> threads{default_threads()};

  // False when another thread is in a loop of its own: then the caller computes alone.
  bool run(const std::shared_ptr<Job>& job) {
    const std::unique_lock busy(one_loop_, std::try_to_lock);
    if (!busy) return false;
    {
      const std::lock_guard lock(mutex_);
      start_helpers();
      job_ = job;
      ++generation_;
    }
    wake_.notify_all();
    inside_a_loop = true;
    job->work();
    inside_a_loop = false;
    job->wait();
    return true;
  }

 private:
  std::mutex one_loop_, mutex_;
  std::condition_variable wake_;
  std::shared_ptr<Job> job_;  // the newest; guarded by mutex_
  std::atomic<std::uint64_t> generation_{0};
  int helpers_ = 0;

  // Where the system refuses a thread, those that there are have to do.
  void start_helpers() {
    try {
      for (; helpers_ < threads - 1; ++helpers_) std::thread([this, id = helpers_] { help(id); }).detach();
    } catch (const std::system_error&) { threads = helpers_ + 1; }
  }

  void help(int id) {
    inside_a_loop = true;
    std::uint64_t seen = 0;
    for (;;) {
      // The next loop often follows at once: look for it for 30 us before going to sleep.
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(30);
      while (generation_ == seen && std::chrono::steady_clock::now() < until) std::this_thread::yield();
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (id < threads - 1) job = job_;
      }
      if (job) job->work();
    }
  }
};

Pool& pool() {
  static auto* pool = new Pool;  // never destroyed: its threads sleep until the process ends
  return *pool;
}

}  // namespace

int thread_count() { return pool().threads; }

void set_thread_count(int n) {
  if (n < 1) fail("set_thread_count", "needs at least one thread, got " + std::to_string(n));
  pool().threads = n;
}

void run_chunks(Index n, Index grain, ChunkBody body, const void* f) {
  // More would share a late thread's work better, and cost more where chunks prepare something.
  constexpr Index chunks_per_thread = 2;
  const Index threads = inside_a_loop ? 1 : thread_count();
  const Index chunks = std::min(chunks_per_thread * threads, (n + grain - 1) / grain);
  if (threads == 1 || chunks <= 1) return body(f, 0, n);
  const auto job = std::make_shared<Job>(body, f, n, chunks);
  if (!pool().run(job)) return body(f, 0, n);
  if (job->first_error) std::rethrow_exception(job->first_error);
}

}  // namespace gradus
