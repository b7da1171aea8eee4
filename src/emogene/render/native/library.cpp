// The C functions Python calls: argument checks, choice of instruction set, threads, reductions.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(EG_HAVE_X86)
#include <cpuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>
#endif

#include "kernels.h"

#define EG_EXPORT extern "C" __attribute__((visibility("default")))

namespace emogene {
namespace {

constexpr int kMaxThreads = 64;
enum Status { kOk = 0, kBadFrame = 1, kBadStep = 2, kBadIsa = 3, kBadThreads = 4, kBadSize = 5 };
enum Isa { kIsaPortable, kIsaAvx2, kIsaAvx512, kIsaHalf, kIsaAmx, kIsaCount };

#if defined(EG_HAVE_X86)
// CPU and kernel offer tiles, this process may use them, and a child process computes rightly with them.
bool amx_works() {
#if defined(EG_AMX_EMULATED)
  return amx_probe();
#elif defined(__linux__)
  constexpr unsigned kTileState = 3u << 17, kTileBits = 1u << 22 | 1u << 24;  // XCR0; AMX-BF16, AMX-TILE
  unsigned eax, ebx, ecx, edx, state, high;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & kTileBits) != kTileBits) return false;
  __asm__ volatile("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  if ((state & kTileState) != kTileState) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData)) return false;
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) _exit(amx_probe() ? 0 : 1);
  int status = 0;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
#else
  return false;
#endif
}
#endif

bool cpu_has(int isa) {
  if (isa == kIsaPortable) return true;
#if defined(EG_HAVE_X86)
  __builtin_cpu_init();
  if (isa == kIsaAvx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (isa == kIsaAvx512) return avx512;
  unsigned eax, ebx, ecx, edx = 0;
  constexpr unsigned kHalfBit = 1u << 23;
  const bool half = avx512 && __builtin_cpu_supports("avx512vbmi2") && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & kHalfBit);
  if (isa == kIsaHalf) return half;
  if (isa == kIsaAmx && half) {
    static const bool works = amx_works();
    return works;
  }
#endif
  return false;
}

// The entry points of an instruction set; null when this CPU, or the compiler that was used, lacks it.
const Kernels* table(int isa) {
#if defined(EG_HAVE_X86)
  static const Kernels* const all[kIsaCount] = {&kPortable, &kAvx2, &kAvx512, &kHalf, &kAmx};
#else
  static const Kernels* const all[kIsaCount] = {&kPortable};
#endif
  if (isa < 0 || isa >= kIsaCount || !all[isa] || !all[isa]->scratch_bytes || !cpu_has(isa)) return nullptr;
  return all[isa];
}

// Large buffers are kept between calls: fresh pages cost more than the work on them.
class Pool {
 public:
  void* take(size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t i = 0; i < free_.size(); i++)
      if (free_[i].bytes >= bytes && free_[i].bytes <= 2 * bytes) {
        void* p = free_[i].data;
        free_.erase(free_.begin() + (long)i);
        return p;
      }
    const size_t rounded = (bytes + 63) / 64 * 64;
    void* p = std::aligned_alloc(64, rounded + 64);
    if (!p) throw std::bad_alloc();
    *(size_t*)p = rounded;
    return (char*)p + 64;
  }
  void give(void* data) {
    std::lock_guard<std::mutex> lock(mutex_);
    const size_t bytes = *(size_t*)((char*)data - 64);
    if (free_.size() >= 16) {
      std::free((char*)free_.front().data - 64);
      free_.erase(free_.begin());
    }
    free_.push_back({data, bytes});
  }

 private:
  struct Piece {
    void* data;
    size_t bytes;
  };
  std::mutex mutex_;
  std::vector<Piece> free_;
};

Pool& pool() {
  static Pool* instance = new Pool;  // never destroyed: threads may outlive static destruction
  return *instance;
}

class Buffer {
 public:
  explicit Buffer(size_t bytes) : data_(pool().take(bytes)) {}
  ~Buffer() { pool().give(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  float* floats() const { return (float*)data_; }
  void* get() const { return data_; }

 private:
  void* data_;
};

// Subnormal numbers as zero while it lives: behind a surface weights underflow, and each would cost 150 cycles.
class FlushSubnormals {
 public:
#if defined(EG_HAVE_X86)
  FlushSubnormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
  ~FlushSubnormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#endif
};

template <class Work> void on_threads(const Kernels& kernels, int threads, Work work) {
  const auto run = [&](int thread) {
    const FlushSubnormals flush;
    kernels.begin();
    work(thread);
    kernels.end();
  };
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) {
    try {
      others.emplace_back(run, i);
    } catch (const std::system_error&) {
      run(i);  // no thread to be had: do its share here
    }
  }
  run(0);
  for (auto& other : others) other.join();
}

// Rays sorted by frame and cut into items of at most kItemRays.
struct Schedule {
  std::vector<int64_t> order, items;

  bool make(const Rays& rays) {
    std::vector<int64_t> first((size_t)rays.n_frames + 1, 0);
    for (int64_t i = 0; i < rays.count; i++) {
      if (rays.frames[i] < 0 || rays.frames[i] >= rays.n_frames) return false;
      first[(size_t)rays.frames[i] + 1]++;
    }
    for (int64_t f = 0; f < rays.n_frames; f++) {
      for (int64_t at = 0; at < first[(size_t)f + 1]; at += kItemRays) items.push_back(first[(size_t)f] + at);
      first[(size_t)f + 1] += first[(size_t)f];
    }
    items.push_back(rays.count);
    order.resize((size_t)rays.count);
    for (int64_t i = 0; i < rays.count; i++) order[(size_t)first[(size_t)rays.frames[i]]++] = i;
    return true;
  }
};

int check(const Rays& rays, const Kernels* kernels, int threads) {
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  if (!(rays.step >= kLeastStep) || item_bound(rays.step) > kScatterRoom) return kBadStep;
  return kOk;
}

// Bytes one thread needs to work on rays: its scratch and the samples of one item.
size_t ray_scratch(const Kernels& kernels, const Rays& rays) {
  const size_t bytes = kernels.scratch_bytes + kernels.sample_bytes * (size_t)item_bound(rays.step);
  return (bytes + 63) / 64 * 64;
}

constexpr size_t kColourFloats = kHidden * 32 + kHidden + kChannels * kHidden + kChannels;
constexpr size_t kWeightFloats =
    kHidden * kEncoded + kHidden * kHidden + kGeometry * kHidden + kHidden + kGeometry + kColourFloats;

Gradients carve(float* p) {
  Gradients g{};
  g.w1 = p, p += kHidden * kEncoded;
  g.w2 = p, p += kHidden * kHidden;
  g.w3 = p, p += kGeometry * kHidden;
  g.c1 = p, p += kHidden * 32;
  g.c2 = p, p += kChannels * kHidden;
  g.b2 = p, p += kHidden;
  g.b3 = p, p += kGeometry;
  g.d1 = p, p += kHidden;
  g.d2 = p, p += kChannels;
  g.bias = p;
  return g;
}

// Backward over all rays: workers fill scatter buffers, then threads own levels, until the items are done.
template <class Work>
void backward_phases(const Kernels& kernels, const Field& field, const Rays& rays, int threads, float* flat_grad,
                     float* table_grad, Work work) {
  const size_t copy = kWeightFloats + (size_t)rays.n_frames * kHidden;
  const size_t copy_padded = (copy + 15) / 16 * 16;
  Buffer grads(sizeof(float) * copy_padded * (size_t)threads);
  std::memset(grads.get(), 0, sizeof(float) * copy_padded * (size_t)threads);
  const size_t own = ray_scratch(kernels, rays);
  constexpr size_t room = (size_t)(kScatterRoom / kBlock);
  Buffer blocks(table_grad ? sizeof(ScatterBlock) * room * (size_t)threads : 64);
  Buffer scratch(own * (size_t)threads);
  std::vector<ScatterBuffer> buffers;
  for (int i = 0; i < threads; i++)
    buffers.push_back({table_grad ? (ScatterBlock*)blocks.get() + room * (size_t)i : nullptr, 0, -1});
  for (bool more = true; more;) {
    on_threads(kernels, threads, [&](int t) {
      Gradients grad = carve(grads.floats() + copy_padded * (size_t)t);
      work(t, grad, buffers[(size_t)t], (char*)scratch.get() + own * (size_t)t);
    });
    if (table_grad) on_threads(kernels, threads, [&](int t) {
      for (int level = t; level < kLevels; level += threads)
        kernels.scatter(&field, buffers.data(), threads, table_grad, level);
    });
    more = false;
    for (auto& buffer : buffers) {
      more |= buffer.next_item < rays.n_items;
      buffer.count = 0;
    }
  }
  for (size_t i = 0; i < copy; i++) {
    float sum = 0.0f;
    for (int t = 0; t < threads; t++) sum += grads.floats()[copy_padded * (size_t)t + i];
    flat_grad[i] = sum;
  }
}

}  // namespace
}  // namespace emogene

using namespace emogene;

EG_EXPORT int eg_has_isa(int isa) { return table(isa) != nullptr; }

EG_EXPORT int64_t eg_gradient_floats(int64_t n_frames) { return (int64_t)kWeightFloats + n_frames * kHidden; }

EG_EXPORT int eg_encode(int isa, const Field* field, const float* points, int64_t count, float* out) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  kernels->encode(field, points, count, out);
  return kOk;
}

EG_EXPORT int eg_sums(int isa, int threads, const Field* field, Rays* rays, float* sums) {
  const Kernels* kernels = table(isa);
  if (const int status = check(*rays, kernels, threads)) return status;
  Schedule schedule;
  if (!schedule.make(*rays)) return kBadFrame;
  rays->order = schedule.order.data();
  rays->items = schedule.items.data();
  rays->n_items = (int64_t)schedule.items.size() - 1;
  const size_t own = ray_scratch(*kernels, *rays);
  Buffer scratch(own * (size_t)threads);
  on_threads(*kernels, threads,
             [&](int t) { kernels->sums(field, rays, sums, (char*)scratch.get() + own * (size_t)t, t, threads); });
  return kOk;
}

// flat_grad: [eg_gradient_floats(K)], overwritten; table_grad: [rows, 2], added to, or null when none is wanted.
EG_EXPORT int eg_sums_backward(int isa, int threads, const Field* field, Rays* rays, const float* sums_grad,
                               float* flat_grad, float* table_grad) {
  const Kernels* kernels = table(isa);
  if (const int status = check(*rays, kernels, threads)) return status;
  Schedule schedule;
  if (!schedule.make(*rays)) return kBadFrame;
  rays->order = schedule.order.data();
  rays->items = schedule.items.data();
  rays->n_items = (int64_t)schedule.items.size() - 1;
  backward_phases(*kernels, *field, *rays, threads, flat_grad, table_grad,
                  [&](int t, Gradients& grad, ScatterBuffer& buffer, void* scratch) {
                    kernels->sums_backward(field, rays, sums_grad, &grad, &buffer, scratch, t, threads);
                  });
  return kOk;
}

// As eg_sums_backward for the fused loss; loss->total, colour and spread are means over rays.
EG_EXPORT int eg_train(int isa, int threads, const Field* field, Rays* rays, Loss* loss, float* flat_grad,
                       float* table_grad) {
  const Kernels* kernels = table(isa);
  if (const int status = check(*rays, kernels, threads)) return status;
  Schedule schedule;
  if (!schedule.make(*rays)) return kBadFrame;
  rays->order = schedule.order.data();
  rays->items = schedule.items.data();
  rays->n_items = (int64_t)schedule.items.size() - 1;
  std::vector<Loss> losses((size_t)threads, *loss);
  for (auto& part : losses) part.total = part.colour = part.spread = 0.0;
  backward_phases(*kernels, *field, *rays, threads, flat_grad, table_grad,
                  [&](int t, Gradients& grad, ScatterBuffer& buffer, void* scratch) {
                    kernels->train(field, rays, &losses[(size_t)t], &grad, &buffer, scratch, t, threads);
                  });
  loss->total = loss->colour = loss->spread = 0.0;
  const double scale = rays->count ? 1.0 / (double)rays->count : 0.0;
  for (auto& part : losses) {
    loss->colour += scale * part.colour;
    loss->spread += scale * part.spread;
    loss->total += scale * (part.colour + part.total + loss->spread_weight * part.spread);
  }
  return kOk;
}

EG_EXPORT int eg_mask(int isa, const Field* field, const uint8_t* wide, const float* warp, int64_t warp_side,
                      uint8_t* out) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  kernels->mask(field, wide, warp, warp_side, out);
  return kOk;
}

EG_EXPORT int eg_image(int isa, int threads, const Field* field, Image* image) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  if (!(image->step > 0.0f)) return kBadStep;
  int64_t next_tile = 0;
  image->next_tile = &next_tile;
  Buffer scratch(kernels->scratch_bytes * (size_t)threads);
  on_threads(*kernels, threads, [&](int t) {
    kernels->image(field, image, (char*)scratch.get() + kernels->scratch_bytes * (size_t)t, t, threads);
  });
  return kOk;
}

// bias: [64]; points: [count, 3]; out: [count] per cube length.
EG_EXPORT int eg_densities(int isa, int threads, const Field* field, const float* bias, const float* points,
                           int64_t count, float* out) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  Buffer scratch(kernels->scratch_bytes * (size_t)threads);
  on_threads(*kernels, threads, [&](int t) {
    kernels->densities(field, bias, points, count, out, (char*)scratch.get() + kernels->scratch_bytes * (size_t)t, t,
                       threads);
  });
  return kOk;
}

EG_EXPORT int eg_compose(int isa, int threads, const Composite* composite) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  if (composite->width > kMostLow || composite->plane_side < 2 || composite->stride < kChannels + 2) return kBadSize;
  Buffer scratch(kernels->scratch_bytes * (size_t)threads);
  on_threads(*kernels, threads, [&](int t) {
    kernels->compose(composite, (char*)scratch.get() + kernels->scratch_bytes * (size_t)t, t, threads);
  });
  return kOk;
}

EG_EXPORT int eg_cover(Coverage* coverage) {
  const int64_t rows = (coverage->height + kCell - 1) / kCell, cols = (coverage->width + kCell - 1) / kCell;
  // 4: somebody there; 3, 2, 1: one, two, three cells away; 0: farther
  std::vector<int8_t> near((size_t)((rows + 2) * (cols + 2)), 0);
  const auto at = [&](int64_t row, int64_t col) -> int8_t& { return near[(size_t)((row + 1) * (cols + 2) + col + 1)]; };
  for (int64_t y = 0; y < coverage->height; y++)
    for (int64_t x = 0; x < coverage->width; x++) {
      const float* alphas = coverage->composite + ((y + 1) * coverage->row_pixels + x + 1) * coverage->stride + kChannels;
      if (alphas[0] + alphas[1] > coverage->faint) at(y / kCell, x / kCell) = 4;
    }
  coverage->n_made = coverage->n_hidden = coverage->n_ring = 0;
  for (int8_t reach = 3; reach > 0; reach--)
    for (int64_t row = 0; row < rows; row++)
      for (int64_t col = 0; col < cols; col++) {
        if (at(row, col)) continue;
        bool beside = false;
        for (int k = 0; k < 9; k++) beside |= at(row + k / 3 - 1, col + k % 3 - 1) > reach;
        if (beside) at(row, col) = reach;
      }
  for (int64_t row = 0; row < rows; row++)
    for (int64_t col = 0; col < cols; col++) {
      const int32_t cell = (int32_t)(row * cols + col);
      const int8_t reach = at(row, col);
      if (reach >= 3) coverage->made[coverage->n_made++] = cell;
      if (reach >= 2) coverage->hidden[coverage->n_hidden++] = cell;
      if (reach == 1) coverage->ring[coverage->n_ring++] = cell;
    }
  return kOk;
}

// Zero the pixels of some cells in a bordered picture.
EG_EXPORT int eg_clear(float* picture, int64_t row_pixels, int64_t channels, const int32_t* cells, int64_t n_cells,
                       int64_t width) {
  const int64_t cols = (width + kCell - 1) / kCell;
  for (int64_t i = 0; i < n_cells; i++)
    for (int64_t y = 0; y < kCell; y++) {
      const int64_t first = (kCell * (cells[i] / cols) + y + 1) * row_pixels + kCell * (cells[i] % cols) + 1;
      std::memset(picture + first * channels, 0, sizeof(float) * (size_t)(kCell * channels));
    }
  return kOk;
}

// Layers one after the other, each spread over the threads.
EG_EXPORT int eg_convolve(int isa, int threads, const Convolution* layers, int64_t n_layers) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  for (int64_t i = 0; i < n_layers; i++) {
    const int64_t inputs = (layers[i].used[0] + 15) / 16 * 16 + (layers[i].used[1] + 15) / 16 * 16;
    if (inputs > kMostInputs || layers[i].outputs > kMostOutputs || layers[i].outputs % 16) return kBadSize;
  }
  Buffer scratch(kernels->scratch_bytes * (size_t)threads);
  for (int64_t layer = 0; layer < n_layers; layer++)
    on_threads(*kernels, threads, [&](int t) {
      kernels->convolve(layers + layer, (char*)scratch.get() + kernels->scratch_bytes * (size_t)t, t, threads);
    });
  return kOk;
}

// out: as many bytes as weight [36][inputs][outputs] has.
EG_EXPORT int eg_pack_weights(int isa, const float* weight, int64_t inputs, int64_t outputs, void* out) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (outputs < 16 || outputs % 16) return kBadSize;
  kernels->pack_weights(weight, inputs, outputs, out);
  return kOk;
}

EG_EXPORT int eg_enlarge(int isa, int threads, const Enlargement* enlargement) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  if (enlargement->layers > kMostLayers || enlargement->side < 2) return kBadSize;
  if (enlargement->torso && (enlargement->torso_columns < 2 || enlargement->torso_rows < 2)) return kBadSize;
  // Places are means over neighbours' surfaces, pixels blends of neighbours' places.
  for (int phase = enlargement->layers ? 0 : 2; phase < 3; phase++)
    on_threads(*kernels, threads, [&](int t) { kernels->enlarge(enlargement, phase, t, threads); });
  return kOk;
}

EG_EXPORT int eg_paint(int isa, int threads, const Picture* picture) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  if (threads < 1 || threads > kMaxThreads) return kBadThreads;
  on_threads(*kernels, threads, [&](int t) { kernels->paint(picture, t, threads); });
  return kOk;
}

EG_EXPORT int eg_adam(int isa, int threads, float* value, float* mean, float* square, float* grad,
                      uint16_t* packed, int64_t count, const float* settings) {
  const Kernels* kernels = table(isa);
  if (!kernels) return kBadIsa;
  on_threads(*kernels, threads, [&](int t) {
    const int64_t first = count / 16 * t / threads * 16;
    const int64_t last = t == threads - 1 ? count : count / 16 * (t + 1) / threads * 16;
    kernels->adam(value + first, mean + first, square + first, grad + first, packed ? packed + first : nullptr,
                  last - first, settings);
  });
  return kOk;
}
