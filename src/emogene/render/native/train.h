// The fused training step of one thread: forward, deferred colour, loss, and the gradients of everything.
#pragma once
#include "colour.h"
#include "workers.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) TrainScratch {
  Scratch base;
  ColourScratch colour;
  float sums[kItemRays * kSums], sums_grad[kItemRays * kSums];
  float ray_major[kBlock * kGeometry], d[3][kBlock], d_out[kChannels * kBlock], d_in[32 * kBlock];
};

// Loss of one ray and its gradient: d_raw (of the three colour outputs) and g (of the 18 sums).
static double ray_loss(const Loss& loss, int64_t ray, double scale, const float* sums, const float* raw, float* d_raw,
                       float* g) {
  const float opacity = sums[0], m1 = sums[kGeometry], m2 = sums[kGeometry + 1];
  const double weight = loss.weight ? loss.weight[ray] : 1.0;
  double total = 0.0;
  for (int k = 0; k < kSums; k++) g[k] = 0.0f;
  for (int k = 0; k < 3; k++) {
    const float colour = raw[k * kBlock], background = loss.background[3 * ray + k];
    const float error = opacity * colour + (1.0f - opacity) * background - loss.target[3 * ray + k];
    const float d = (float)(2.0 / 3.0 * weight * scale) * error;
    total += weight / 3.0 * error * error;
    d_raw[k * kBlock] = d * opacity * colour * (1.0f - colour);
    g[0] += d * (colour - background);
  }
  if (loss.target_opacity) {
    const float error = opacity - loss.target_opacity[ray];
    total += loss.opacity_weight * error * error;
    g[0] += (float)(2.0 * scale) * loss.opacity_weight * error;
  }
  const float spread = opacity * m2 - m1 * m1;
  if (spread > 0.0f) {
    const float d = (float)scale * loss.spread_weight;
    total += loss.spread_weight * spread;
    g[0] += d * m2;
    g[kGeometry] -= 2.0f * d * m1;
    g[kGeometry + 1] += d * opacity;
  }
  return total;
}

// Colour, loss and gradient of up to 32 rays of the chunk from `first` on; `at` is their place in the order.
static double colour_and_loss(const Rays& rays, const Loss& loss, int64_t at, int first, TrainScratch& s,
                              Gradients& grad) {
  const int left = s.base.chunk.rays - first, count = left < kBlock ? left : kBlock;
  __builtin_memset(s.ray_major, 0, sizeof s.ray_major);
  __builtin_memset(s.d_out, 0, sizeof s.d_out);
  for (int i = 0; i < kBlock; i++) {
    const int64_t ray = rays.order[at + first + (i < count ? i : 0)];
    for (int k = 0; k < 3; k++) s.d[k][i] = rays.directions[3 * ray + k];
    if (i < count)
      __builtin_memcpy(s.ray_major + i * kGeometry, s.sums + (first + i) * kSums, sizeof(float) * kGeometry);
  }
  const float* d[3] = {s.d[0], s.d[1], s.d[2]};
  transpose<kBlock, kGeometry>(s.ray_major, s.colour.in);
  harmonics(d, s.colour.in + kGeometry * kBlock);
  colour_layers(s.base.mlp, s.colour.in, s.colour.hidden, s.colour.out);
  for (int i = 0; i < 3 * kBlock; i += L)
    store(s.colour.out + i, 1.0f / (1.0f + vexp(-load<vf>(s.colour.out + i))));
  double total = 0.0;
  for (int i = 0; i < count; i++) {
    const int64_t ray = rays.order[at + first + i];
    total += ray_loss(loss, ray, 1.0 / (double)rays.count, s.sums + (first + i) * kSums, s.colour.out + i,
                      s.d_out + i, s.sums_grad + (first + i) * kSums);
    if (loss.opacity_out) loss.opacity_out[ray] = s.sums[(first + i) * kSums];
  }
  colour_backward(s.base.mlp, s.colour.in, s.colour.hidden, s.d_out, grad, s.d_in, s.base.work);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < kGeometry; k++) s.sums_grad[(first + i) * kSums + k] += s.d_in[k * kBlock + i];
  return total;
}

// Runs items until done or until the next item might not fit the scatter buffer; adds to loss->total.
static void train(const Field* field, const Rays* rays, Loss* loss, Gradients* grad, ScatterBuffer* buffer,
                  void* scratch, int thread, int threads) {
  TrainScratch& s = *(TrainScratch*)scratch;
  Chunk& c = s.base.chunk;
  s.base.mlp.prepare(*field);
  int64_t item = buffer->next_item < 0 ? thread : buffer->next_item;
  for (; item < rays->n_items && buffer->count + item_bound(rays->step) <= kScatterRoom; item += threads)
    for (int64_t at = rays->items[item]; at < rays->items[item + 1];) {
      const int64_t first = at;
      at = fill_chunk(*field, *rays, first, rays->items[item + 1], c);
      if (c.n) forward_chunk(*field, *rays, frame_bias(*rays, first), s.base, true);
      for (int r = 0; r < c.rays; r++) composite(c, r, s.sums + r * kSums);
      for (int r = 0; r < c.rays; r += kBlock) loss->total += colour_and_loss(*rays, *loss, first, r, s, *grad);
      if (!c.n) continue;
      for (int r = 0; r < c.rays; r++)
        composite_backward(c, r, s.sums_grad + r * kSums, rays->step, s.base.d_blended);
      backward_chunk(rays->frames[rays->order[first]], s.base, *grad, *buffer);
    }
  buffer->next_item = item;
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
