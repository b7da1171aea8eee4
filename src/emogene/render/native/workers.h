// What one thread does: autograd forward and backward over ray items, whole images over tiles, Adam.
#pragma once
#include "bundle.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) Scratch {
  Mlp mlp;  // float: colour
#ifdef EG_HALF_MLP
  SampleMlp samples;
#endif
  Bundle bundle;
  Packer packer;
  float sums_grad[kItemRays * kSums];

  const SampleMlp& prepare(const Field& field, int64_t room) {
    mlp.prepare(field);
    bundle.place(this + 1, room);
    __builtin_memset(packer.blocks, 0, sizeof packer.blocks);  // what no sample fills is multiplied by zero
    packer.full = 0;
#ifdef EG_HALF_MLP
    samples.prepare(field);
    return samples;
#else
    return mlp;
#endif
  }
};

static float* frame_gradient(const Rays& rays, int64_t item, const Gradients& grad) {
  return grad.bias + rays.frames[rays.order[rays.items[item]]] * kHidden;
}

static void ray_sums(const Field* field, const Rays* rays, float* sums, void* scratch, int thread, int threads) {
  Scratch& s = *(Scratch*)scratch;
  Bundle& b = s.bundle;
  const SampleMlp& mlp = s.prepare(*field, item_bound(rays->step));
  for (int64_t item = thread; item < rays->n_items; item += threads) {
    forward_bundle(*field, *rays, rays->items[item], rays->items[item + 1], mlp, b);
    for (int r = 0; r < b.rays; r++) {
      float* out = sums + b.ray[r] * kSums;
      for (int k = 0; k < kGeometry; k++) out[k] = b.sums[r * kGeometry + k];
      out[kGeometry] = b.depth[r];
      out[kGeometry + 1] = b.depth_sq[r];
    }
  }
}

// Runs items until done or until the next item might not fit the scatter buffer.
static void ray_sums_backward(const Field* field, const Rays* rays, const float* sums_grad, Gradients* grad,
                              ScatterBuffer* buffer, void* scratch, int thread, int threads) {
  Scratch& s = *(Scratch*)scratch;
  Bundle& b = s.bundle;
  const SampleMlp& mlp = s.prepare(*field, item_bound(rays->step));
  int64_t item = buffer->next_item < 0 ? thread : buffer->next_item;
  for (; item < rays->n_items && buffer->count * kBlock + item_bound(rays->step) <= kScatterRoom; item += threads) {
    forward_bundle(*field, *rays, rays->items[item], rays->items[item + 1], mlp, b);
    for (int r = 0; r < b.rays; r++)
      __builtin_memcpy(s.sums_grad + r * kSums, sums_grad + b.ray[r] * kSums, sizeof(float) * kSums);
    backward_bundle(*rays, s.sums_grad, mlp, *grad, frame_gradient(*rays, item, *grad), *buffer, b, s.packer);
  }
  buffer->next_item = item;
}

static void encode_points(const Field* field, const float* points, int64_t count, float* out) {
  alignas(64) float x[kBlock], y[kBlock], z[kBlock], features[kEncoded * kBlock];
  for (int64_t first = 0; first < count; first += kBlock) {
    const int n = (int)(count - first < kBlock ? count - first : kBlock);
    for (int i = 0; i < kBlock; i++) {
      const float* p = points + 3 * (first + (i < n ? i : n - 1));
      x[i] = p[0], y[i] = p[1], z[i] = p[2];
    }
    for (int i = 0; i < kBlock; i += L) {
      store(x + i, sanitize(load<vf>(x + i)));
      store(y + i, sanitize(load<vf>(y + i)));
      store(z + i, sanitize(load<vf>(z + i)));
    }
    encode_chunk(*field, x, y, z, kBlock, features);
    for (int i = 0; i < n; i++)
      for (int k = 0; k < kEncoded; k++) out[(first + i) * kEncoded + k] = features[k * kBlock + i];
  }
}

// settings: learning rate, beta1, beta2, 1 / (1 - beta1^t), 1 / (1 - beta2^t), epsilon. Clears the gradient.
static void adam(float* value, float* mean, float* square, float* grad, uint16_t* packed, int64_t count,
                 const float* settings) {
  const float rate = settings[0], b1 = settings[1], b2 = settings[2];
  const float scale1 = settings[3], scale2 = settings[4], epsilon = settings[5];
  for (int64_t i = 0; i < count; i++) {
    const float g = grad[i];
    grad[i] = 0.0f;
    const float m = mean[i] = b1 * mean[i] + (1.0f - b1) * g;
    const float v = square[i] = b2 * square[i] + (1.0f - b2) * g * g;
    const float x = value[i] -= rate * (m * scale1) / (std::sqrt(v * scale2) + epsilon);
    if (packed) {
      uint32_t bits;
      __builtin_memcpy(&bits, &x, 4);
      packed[i] = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);  // to nearest even, as torch
    }
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
