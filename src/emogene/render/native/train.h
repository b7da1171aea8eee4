// The fused training step of one thread: forward, deferred colour, loss, and the gradients of everything.
#pragma once
#include "colour.h"
#include "workers.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) TrainScratch {
  ColourScratch colour;
  MlpScratch work;
  float ray_major[kBlock * kGeometry], d[3][kBlock], d_out[kChannels * kBlock], d_in[32 * kBlock];
  Scratch base;  // last: samples follow it
};

// Adds one ray's loss; its gradient: d_raw (of the three colour outputs) and g (of the 18 sums).
static void ray_loss(Loss& loss, int64_t ray, double scale, float opacity, float m1, float m2, const float* raw,
                     float* d_raw, float* g) {
  const double weight = loss.weight ? loss.weight[ray] : 1.0;
  for (int k = 0; k < kSums; k++) g[k] = 0.0f;
  for (int k = 0; k < 3; k++) {
    const float colour = raw[k * kBlock], background = loss.background[3 * ray + k];
    const float error = opacity * colour + (1.0f - opacity) * background - loss.target[3 * ray + k];
    const float d = (float)(2.0 / 3.0 * weight * scale) * error;
    loss.colour += weight / 3.0 * error * error;
    d_raw[k * kBlock] = d * opacity * colour * (1.0f - colour);
    g[0] += d * (colour - background);
  }
  if (loss.target_opacity) {
    const float error = opacity - loss.target_opacity[ray];
    loss.total += loss.opacity_weight * error * error;
    g[0] += (float)(2.0 * scale) * loss.opacity_weight * error;
  }
  const float spread = opacity * m2 - m1 * m1;
  if (spread > 0.0f) {
    const float d = (float)scale * loss.spread_weight;
    loss.spread += spread;
    g[0] += d * m2;
    g[kGeometry] -= 2.0f * d * m1;
    g[kGeometry + 1] += d * opacity;
  }
  loss.total += loss.haze_weight * opacity * (1.0f - opacity);
  g[0] += (float)scale * loss.haze_weight * (1.0f - 2.0f * opacity);
}

// Colour, loss and gradient of up to 32 rays of the bundle from `first` on.
static void colour_and_loss(const Rays& rays, Loss& loss, int first, TrainScratch& s, Gradients& grad) {
  const Bundle& b = s.base.bundle;
  const int left = b.rays - first, count = left < kBlock ? left : kBlock;
  __builtin_memset(s.ray_major, 0, sizeof s.ray_major);
  __builtin_memset(s.d_out, 0, sizeof s.d_out);
  for (int i = 0; i < kBlock; i++) {
    const int64_t ray = b.ray[first + (i < count ? i : 0)];
    for (int k = 0; k < 3; k++) s.d[k][i] = rays.directions[3 * ray + k];
  }
  __builtin_memcpy(s.ray_major, b.sums + first * kGeometry, sizeof(float) * (size_t)(count * kGeometry));
  const float* d[3] = {s.d[0], s.d[1], s.d[2]};
  transpose<kBlock, kGeometry>(s.ray_major, s.colour.in);
  harmonics(d, s.colour.in + kGeometry * kBlock);
  colour_layers(s.base.mlp, s.colour.in, s.colour.hidden, s.colour.out);
  for (int i = 0; i < 3 * kBlock; i += L)
    store(s.colour.out + i, 1.0f / (1.0f + vexp(-load<vf>(s.colour.out + i))));
  for (int i = 0; i < count; i++) {
    const int r = first + i;
    ray_loss(loss, b.ray[r], 1.0 / (double)rays.count, b.sums[r * kGeometry], b.depth[r], b.depth_sq[r],
             s.colour.out + i, s.d_out + i, s.base.sums_grad + r * kSums);
    if (loss.opacity_out) loss.opacity_out[b.ray[r]] = b.sums[r * kGeometry];
  }
  colour_backward(s.base.mlp, s.colour.in, s.colour.hidden, s.d_out, grad, s.d_in, s.work);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < kGeometry; k++) s.base.sums_grad[(first + i) * kSums + k] += s.d_in[k * kBlock + i];
}

// Runs items until done or until the next item might not fit the scatter buffer; adds to the loss.
static void train(const Field* field, const Rays* rays, Loss* loss, Gradients* grad, ScatterBuffer* buffer,
                  void* scratch, int thread, int threads) {
  TrainScratch& s = *(TrainScratch*)scratch;
  Bundle& b = s.base.bundle;
  const SampleMlp& mlp = s.base.prepare(*field, item_bound(rays->step));
  int64_t item = buffer->next_item < 0 ? thread : buffer->next_item;
  for (; item < rays->n_items && buffer->count * kBlock + item_bound(rays->step) <= kScatterRoom; item += threads) {
    forward_bundle(*field, *rays, rays->items[item], rays->items[item + 1], mlp, b);
    for (int r = 0; r < b.rays; r += kBlock) colour_and_loss(*rays, *loss, r, s, *grad);
    backward_bundle(*rays, s.base.sums_grad, mlp, *grad, frame_gradient(*rays, item, *grad), *buffer, b,
                    s.base.packer);
  }
  buffer->next_item = item;
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
