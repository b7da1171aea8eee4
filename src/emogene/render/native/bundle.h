// A bundle: up to kItemRays rays of one frame with the samples taken on them. Forward goes front to back in rounds
// of a few samples per ray, so that nothing is asked behind the place where a ray ends; what backward needs is kept.
// Backward packs the samples that weigh enough into full blocks and sends only those through the network.
#pragma once
#include "march.h"
#include "volume.h"
#ifdef EG_HALF_MLP
#include "mlp_half_train.h"
#else
namespace emogene {
namespace EG_NAMESPACE {
typedef Mlp SampleMlp;
typedef Activations SampleActivations;
typedef MlpScratch SampleScratch;
}  // namespace EG_NAMESPACE
}  // namespace emogene
#endif

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kLateRound = 2 * kRound, kFewRays = 24;  // few rays left: more samples of each, to fill blocks
constexpr int kRoundSamples = kItemRays * kRound;
constexpr int kQueue = 32;                             // marched samples of a ray that wait for a round
static_assert(kFewRays * kLateRound <= kRoundSamples && kLateRound - 1 + L <= kQueue, "room");

struct alignas(64) Bundle {
  // Rays
  int64_t ray[kItemRays];
  Interval span[kItemRays];
  float past[kItemRays], left[kItemRays];
  int32_t total[kItemRays], next[kItemRays];  // candidates, and which comes next
  int32_t head[kItemRays], tail[kItemRays];   // of the queue
  int32_t open[kItemRays], from[kItemRays], to[kItemRays];
  alignas(64) float queue[4][kItemRays * kQueue];         // x, y, z, s
  float sums[kItemRays * kGeometry], depth[kItemRays], depth_sq[kItemRays];
  int rays, n_open;
  // Samples of all rounds, rounds padded to whole blocks (weight 0)
  float *x, *y, *z, *s, *slope, *weight, *after, *blended;
  int32_t* owner;
  SampleActivations* kept;
  int n;
  // One round
  alignas(64) float alpha[kRoundSamples], geometry[kRoundSamples * kGeometry];
#ifdef EG_MLP_AMX
  float encoded[kRoundSamples * kEncoded];
#endif

  static constexpr size_t kSampleBytes = (7 + kGeometry + 1) * 4 + sizeof(SampleActivations) / kBlock;

  // Samples live behind the scratch, `room` of them (a multiple of kBlock).
  void place(void* memory, int64_t room) {
    kept = (SampleActivations*)memory;
    float* p = (float*)(kept + room / kBlock);
    blended = p, p += room * kGeometry;
    float** const arrays[7] = {&x, &y, &z, &s, &slope, &weight, &after};
    for (float** array : arrays) *array = p, p += room;
    owner = (int32_t*)p;
  }
};

static void open_rays(const Rays& rays, int64_t first, int64_t end, Bundle& b) {
  b.rays = (int)(end - first);
  b.n = b.n_open = 0;
  for (int r = 0; r < b.rays; r++) {
    const int64_t ray = b.ray[r] = rays.order[first + r];
    const float *o = rays.origins + 3 * ray, *d = rays.directions + 3 * ray;
    b.span[r] = cube_interval(o, d);
    b.past[r] = (0.5f - o[0]) * d[0] + (0.5f - o[1]) * d[1] + (0.5f - o[2]) * d[2];
    b.total[r] = candidates(b.span[r], rays.step);
    b.next[r] = b.head[r] = b.tail[r] = 0;
    b.left[r] = 1.0f;
    b.depth[r] = b.depth_sq[r] = 0.0f;
    if (b.total[r]) b.open[b.n_open++] = r;
  }
  __builtin_memset(b.sums, 0, sizeof(float) * (size_t)(b.rays * kGeometry));
}

// March ray r until `quota` samples wait, or its end.
static inline void refill(const Field& field, const Rays& rays, const float* warp, int quota, int r, Bundle& b) {
  float* queue[4];
  for (int a = 0; a < 4; a++) queue[a] = b.queue[a] + r * kQueue;
  int waiting = b.tail[r] - b.head[r];
  for (int a = 0; a < 4; a++)
    for (int i = 0; i < waiting; i++) queue[a][i] = queue[a][b.head[r] + i];
  const float *o = rays.origins + 3 * b.ray[r], *d = rays.directions + 3 * b.ray[r];
  const vf lanes = lane_numbers() + rays.jitter[b.ray[r]], past = splat(b.past[r]);
  int k = b.next[r];
  for (; waiting < quota && k < b.total[r]; k += L) {
    const vf t = splat(b.span[r].near) + rays.step * (lanes + (float)k);
    vf x = sanitize(o[0] + t * d[0]), y = sanitize(o[1] + t * d[1]), z = sanitize(o[2] + t * d[2]);
    if (warp) warp_points(warp, (int)rays.warp_side, x, y, z);
    const uint32_t keep = lane_bits((t < b.span[r].far) & occupied(field.cells, (int)field.cells_side, x, y, z));
    if (!keep) continue;
    append_lanes(queue[0] + waiting, x, keep);
    append_lanes(queue[1] + waiting, y, keep);
    append_lanes(queue[2] + waiting, z, keep);
    append_lanes(queue[3] + waiting, t - past, keep);
    waiting += __builtin_popcount(keep);
  }
  b.next[r] = k;
  b.head[r] = 0;
  b.tail[r] = waiting;
}

// Take up to `quota` samples of every open ray; rays without any are closed. Returns the samples taken.
static int take_round(const Field& field, const Rays& rays, const float* warp, int quota, Bundle& b) {
  int n = b.n, still = 0;
  for (int a = 0; a < b.n_open; a++) {
    const int r = b.open[a];
    if (b.tail[r] - b.head[r] < quota) refill(field, rays, warp, quota, r, b);
    const int waiting = b.tail[r] - b.head[r], count = waiting < quota ? waiting : quota;
    if (!count) continue;
    const int at = r * kQueue + b.head[r];
    for (int i = 0; i < count; i++) {
      b.x[n + i] = b.queue[0][at + i], b.y[n + i] = b.queue[1][at + i];
      b.z[n + i] = b.queue[2][at + i], b.s[n + i] = b.queue[3][at + i];
      b.owner[n + i] = r;
    }
    b.head[r] += count;
    b.from[still] = n;
    b.to[still] = n += count;
    b.open[still++] = r;
  }
  b.n_open = still;
  const int taken = n - b.n;
  for (; n % kBlock; n++) b.x[n] = b.y[n] = b.z[n] = 0.5f, b.s[n] = 0.0f, b.owner[n] = 0;
  for (int i = b.n; i < n; i++) b.weight[i] = 0.0f;
  return taken;
}

// Ask the network about the round's samples [b.n, b.n + 32 blocks).
static void ask_round(const Field& field, const SampleMlp& mlp, const float* bias, float step, int blocks, Bundle& b) {
  SampleActivations* kept = b.kept + b.n / kBlock;
#ifdef EG_MLP_AMX
  encode_chunk(field, b.x + b.n, b.y + b.n, b.z + b.n, blocks * kBlock, b.encoded);
  for (int i = 0; i < blocks; i++)
    forward_block(mlp, bias, b.encoded + i * kEncoded * kBlock, b.geometry + i * kGeometry * kBlock, kept + i);
#else
  encode_chunk(field, b.x + b.n, b.y + b.n, b.z + b.n, blocks * kBlock, kept->in,
               (int)(sizeof(SampleActivations) / sizeof kept->in[0]));
#ifdef EG_HALF_MLP
  forward_blocks(mlp, bias, blocks, b.geometry, kept);
#else
  for (int i = 0; i < blocks; i++) forward_block(mlp, bias, kept[i].in, b.geometry + i * kGeometry * kBlock, kept + i);
#endif
#endif
  for (int i = 0; i < blocks; i++) {
    const float* h = b.geometry + i * kGeometry * kBlock;
    for (int j = 0; j < kBlock; j += L) {
      const vf raw = load<vf>(h + j), bounded = vmin(vmax(raw, splat(kLogLow)), splat(kLogHigh));
      const vf tau = step * vexp(bounded);
      store(b.alpha + i * kBlock + j, 1.0f - vexp(-tau));
      store(b.slope + b.n + i * kBlock + j, raw == bounded ? tau : vf{});
    }
    float* out = b.blended + (b.n + i * kBlock) * kGeometry;
    transpose<kGeometry, kBlock>(h, out);
    for (int j = 0; j < kBlock; j++) out[j * kGeometry] = 1.0f;
  }
}

// Add the round's samples to their rays; rays that end are closed.
static void blend_round(float stop, Bundle& b) {
  int still = 0;
  for (int a = 0; a < b.n_open; a++) {
    const int r = b.open[a];
    float left = b.left[r], depth = b.depth[r], depth_sq = b.depth_sq[r];
    alignas(64) float sum[kGeometry];
    __builtin_memcpy(sum, b.sums + r * kGeometry, sizeof sum);
    for (int i = b.from[a]; i < b.to[a] && !(left <= stop); i++) {
      const float w = left * b.alpha[i - b.n];
      left -= w;
      b.weight[i] = w;
      b.after[i] = left;
      add_scaled(sum, w, b.blended + i * kGeometry);
      depth += w * b.s[i];
      depth_sq += w * b.s[i] * b.s[i];
    }
    __builtin_memcpy(b.sums + r * kGeometry, sum, sizeof sum);
    b.left[r] = left, b.depth[r] = depth, b.depth_sq[r] = depth_sq;
    if (!(left <= stop)) b.open[still++] = r;
  }
  b.n_open = still;
}

// Rays [first, end) of the order, one frame's -> b.sums, b.depth, b.depth_sq.
static void forward_bundle(const Field& field, const Rays& rays, int64_t first, int64_t end, const SampleMlp& mlp,
                           Bundle& b) {
  open_rays(rays, first, end, b);
  const int64_t frame = rays.frames[rays.order[first]], side = rays.warp_side;
  const float* warp = rays.warps ? rays.warps + frame * side * side * side * 3 : nullptr;
  while (b.n_open) {
    const int taken = take_round(field, rays, warp, b.n_open > kFewRays ? kRound : kLateRound, b);
    if (!taken) break;
    const int blocks = (taken + kBlock - 1) / kBlock;
    ask_round(field, mlp, rays.bias + frame * kHidden, rays.step, blocks, b);
    blend_round(rays.stop, b);
    b.n += blocks * kBlock;
  }
}

// Samples on their way back: two blocks, the first of which leaves when it is full.
struct alignas(64) Packer {
  SampleActivations blocks[2];
  float d[2 * kBlock * kGeometry];  // sample-major gradients of geometry
  float x[2 * kBlock], y[2 * kBlock], z[2 * kBlock];
  float d_geometry[kGeometry * kBlock];
  int n, full;                      // samples that wait; which block they fill
  SampleScratch work;
};

// Send the first 32 samples through the network's backward pass and towards the table.
static void send_block(const SampleMlp& mlp, Gradients& grad, float* bias_grad, ScatterBuffer& buffer, Packer& p) {
  transpose<kBlock, kGeometry>(p.d, p.d_geometry);
  ScatterBlock* block = buffer.blocks ? buffer.blocks + buffer.count : nullptr;
  backward_block(mlp, p.blocks[p.full], p.d_geometry, grad, bias_grad, block ? block->features : nullptr, p.work);
  if (block) {
    __builtin_memcpy(block->x, p.x, sizeof block->x);
    __builtin_memcpy(block->y, p.y, sizeof block->y);
    __builtin_memcpy(block->z, p.z, sizeof block->z);
    buffer.count++;
  }
  p.full ^= 1;
  p.n = p.n > kBlock ? p.n - kBlock : 0;
  __builtin_memcpy(p.d, p.d + kBlock * kGeometry, sizeof(float) * (size_t)(p.n * kGeometry));
  __builtin_memcpy(p.x, p.x + kBlock, sizeof(float) * kBlock);
  __builtin_memcpy(p.y, p.y + kBlock, sizeof(float) * kBlock);
  __builtin_memcpy(p.z, p.z + kBlock, sizeof(float) * kBlock);
}

// The samples of block `from` whose bit is set join those that wait; at most kBlock wait before.
static inline void pack_samples(const SampleActivations& from, uint32_t bits, Packer& p, int waiting) {
  const int space = kBlock - waiting, count = __builtin_popcount(bits);
  uint32_t first = bits;
  if (count > space) {  // the lowest `space` bits, and the others
    uint32_t rest = bits;
    for (int i = 0; i < space; i++) rest &= rest - 1;
    first = bits ^ rest;
    append_columns(from, rest, p.blocks[p.full ^ 1], 0);
  }
  append_columns(from, first, p.blocks[p.full], waiting);
}

// Gradient of the sums [kItemRays][18] -> weights, the frame's bias, and features into the scatter buffer.
static void backward_bundle(const Rays& rays, const float* sums_grad, const SampleMlp& mlp, Gradients& grad,
                            float* bias_grad, ScatterBuffer& buffer, Bundle& b, Packer& p) {
  alignas(64) float first[kItemRays * kGeometry];
  float g_s[kItemRays], g_ss[kItemRays], rest[kItemRays];
  for (int r = 0; r < b.rays; r++) {
    const float* g = sums_grad + r * kSums;
    for (int k = 0; k < kGeometry; k++) first[r * kGeometry + k] = g[k];
    g_s[r] = g[kGeometry], g_ss[r] = g[kGeometry + 1];
    rest[r] = dot16(first + r * kGeometry, b.sums + r * kGeometry) + g_s[r] * b.depth[r] + g_ss[r] * b.depth_sq[r];
  }
  p.n = 0;
  for (int start = 0; start < b.n; start += kBlock) {
    const int waiting = p.n;
    uint32_t bits = 0;
    for (int i = start; i < start + kBlock; i++) {
      const float w = b.weight[i];
      if (w == 0.0f) continue;
      const int r = b.owner[i];
      const float* g = first + r * kGeometry;
      const float value = dot16(g, b.blended + i * kGeometry) + b.s[i] * (g_s[r] + g_ss[r] * b.s[i]);
      rest[r] -= w * value;
      if (w <= rays.stop) continue;
      bits |= 1u << (i - start);
      float* d = p.d + p.n * kGeometry;
      for (int k = 0; k < kGeometry; k += L) store(d + k, w * load<vf>(g + k));
      d[0] = b.slope[i] * (b.after[i] * value - rest[r]);
      p.x[p.n] = b.x[i], p.y[p.n] = b.y[i], p.z[p.n] = b.z[i];
      p.n++;
    }
    if (!bits) continue;
    pack_samples(b.kept[start / kBlock], bits, p, waiting);
    if (p.n >= kBlock) send_block(mlp, grad, bias_grad, buffer, p);
  }
  if (!p.n) return;
  for (int i = p.n * kGeometry; i < kBlock * kGeometry; i++) p.d[i] = 0.0f;
  for (int i = p.n; i < kBlock; i++) p.x[i] = p.y[i] = p.z[i] = 0.5f;
  send_block(mlp, grad, bias_grad, buffer, p);
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
