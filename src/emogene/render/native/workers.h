// What one thread does: autograd forward and backward over ray items, whole images over tiles, Adam.
#pragma once
#include "march.h"
#include "volume.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) Scratch {
  Mlp mlp;
  MlpScratch work;
  Chunk chunk;
  Activations kept[kChunk / kBlock];
  float d_blended[kChunk * kGeometry], d_geometry[kGeometry * kBlock];
};

// March rays of an item from `at` on until the chunk is full; returns the next ray of the item.
static int64_t fill_chunk(const Field& field, const Rays& rays, int64_t at, int64_t end, Chunk& c) {
  c.n = c.rays = 0;
  for (; at < end; at++) {
    const int64_t ray = rays.order[at];
    const float *o = rays.origins + 3 * ray, *d = rays.directions + 3 * ray;
    const Interval span = cube_interval(o, d);
    if (c.n + candidates(span, rays.step) > kChunk) break;
    const int64_t side = rays.warp_side;
    const float* warp = rays.warps ? rays.warps + rays.frames[ray] * side * side * side * 3 : nullptr;
    c.start[c.rays++] = c.n;
    c.n += march_ray(field, o, d, rays.jitter[ray], rays.step, warp, (int)side, span, c.x + c.n, c.y + c.n,
                     c.z + c.n, c.s + c.n);
  }
  c.start[c.rays] = c.n;
  c.pad();
  return at;
}

static void forward_chunk(const Field& field, const Rays& rays, const float* bias, Scratch& s, bool keep) {
  Chunk& c = s.chunk;
  encode_chunk(field, c.x, c.y, c.z, c.blocks() * kBlock, c.encoded);
  for (int b = 0; b < c.blocks(); b++)
    forward_block(s.mlp, bias, c.encoded + b * kEncoded * kBlock, c.geometry + b * kGeometry * kBlock,
                  s.kept + (keep ? b : 0));
  activate(c, rays.step);
}

static const float* frame_bias(const Rays& rays, int64_t at) {
  return rays.bias + rays.frames[rays.order[at]] * kHidden;
}

static void ray_sums(const Field* field, const Rays* rays, float* sums, void* scratch, int thread, int threads) {
  Scratch& s = *(Scratch*)scratch;
  s.mlp.prepare(*field);
  for (int64_t item = thread; item < rays->n_items; item += threads)
    for (int64_t at = rays->items[item]; at < rays->items[item + 1];) {
      const int64_t first = at;
      at = fill_chunk(*field, *rays, first, rays->items[item + 1], s.chunk);
      if (s.chunk.n) forward_chunk(*field, *rays, frame_bias(*rays, first), s, false);
      for (int r = 0; r < s.chunk.rays; r++) composite(s.chunk, r, sums + rays->order[first + r] * kSums);
    }
}

// Gradients of the chunk's geometry -> weights, frame bias, and features into the scatter buffer.
static void backward_chunk(int64_t frame, Scratch& s, Gradients& grad, ScatterBuffer& buffer) {
  Chunk& c = s.chunk;
  for (int i = c.n * kGeometry; i < c.blocks() * kBlock * kGeometry; i++) s.d_blended[i] = 0.0f;
  alignas(64) float d_encoded[kEncoded * kBlock];
  for (int b = 0; b < c.blocks(); b++) {
    transpose<kBlock, kGeometry>(s.d_blended + b * kGeometry * kBlock, s.d_geometry);
    backward_block(s.mlp, c.encoded + b * kEncoded * kBlock, s.kept[b], s.d_geometry, grad,
                   grad.bias + frame * kHidden, d_encoded, s.work);
    const int64_t to = buffer.count + b * kBlock;
    for (int k = 0; k < kEncoded; k++)
      __builtin_memcpy(buffer.features + k * kScatterRoom + to, d_encoded + k * kBlock, sizeof(float) * kBlock);
  }
  const size_t bytes = sizeof(float) * c.blocks() * kBlock;
  __builtin_memcpy(buffer.x + buffer.count, c.x, bytes);
  __builtin_memcpy(buffer.y + buffer.count, c.y, bytes);
  __builtin_memcpy(buffer.z + buffer.count, c.z, bytes);
  buffer.count += c.blocks() * kBlock;
}

// Runs items until done or until the next item might not fit the scatter buffer.
static void ray_sums_backward(const Field* field, const Rays* rays, const float* sums_grad, Gradients* grad,
                              ScatterBuffer* buffer, void* scratch, int thread, int threads) {
  Scratch& s = *(Scratch*)scratch;
  s.mlp.prepare(*field);
  int64_t item = buffer->next_item < 0 ? thread : buffer->next_item;
  for (; item < rays->n_items && buffer->count + item_bound(rays->step) <= kScatterRoom; item += threads)
    for (int64_t at = rays->items[item]; at < rays->items[item + 1];) {
      const int64_t first = at;
      at = fill_chunk(*field, *rays, first, rays->items[item + 1], s.chunk);
      if (!s.chunk.n) continue;
      forward_chunk(*field, *rays, frame_bias(*rays, first), s, true);
      for (int r = 0; r < s.chunk.rays; r++)
        composite_backward(s.chunk, r, sums_grad + rays->order[first + r] * kSums, rays->step, s.d_blended);
      backward_chunk(rays->frames[rays->order[first]], s, *grad, *buffer);
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
