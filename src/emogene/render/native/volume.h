// Compositing along rays, forward and backward, over the samples of one chunk.
#pragma once
#ifdef EG_MLP_AMX
#include "mlp_amx.h"
#else
#include "mlp.h"
#endif

namespace emogene {
namespace EG_NAMESPACE {

constexpr float kLogLow = -15.0f, kLogHigh = 11.0f;

// A chunk of samples of whole rays of one frame. Geometry lives in blocks [16][32] and sample-major [16].
struct alignas(64) Chunk {
  float x[kChunk], y[kChunk], z[kChunk], s[kChunk];
  float encoded[kChunk * kEncoded];
  float geometry[kChunk * kGeometry];
  float blended[kChunk * kGeometry];  // sample-major: 1, h1..h15
  float sigma[kChunk], alpha[kChunk];
  int32_t start[kItemRays + 1];
  int n, rays;

  int blocks() const { return (n + kBlock - 1) / kBlock; }
  void pad() {
    for (int i = n; i < blocks() * kBlock; i++) x[i] = y[i] = z[i] = 0.5f, s[i] = 0.0f;
  }
};

// Density and opacity of every sample; sample-major features.
static inline void activate(Chunk& c, float step) {
  for (int b = 0; b < c.blocks(); b++) {
    float* h = c.geometry + b * kGeometry * kBlock;
    for (int i = 0; i < kBlock; i += L) {
      const vf sigma = vexp(vmin(vmax(load<vf>(h + i), splat(kLogLow)), splat(kLogHigh)));
      store(c.sigma + b * kBlock + i, sigma);
      store(c.alpha + b * kBlock + i, 1.0f - vexp(-step * sigma));
    }
    float* out = c.blended + b * kGeometry * kBlock;
    transpose<kGeometry, kBlock>(h, out);
    for (int i = 0; i < kBlock; i++) out[i * kGeometry] = 1.0f;
  }
}

// sum += w * (16 features)
static inline void add_scaled(float* sum, float w, const float* features) {
  for (int k = 0; k < kGeometry; k += L) store(sum + k, load<vf>(sum + k) + w * load<vf>(features + k));
}

static inline float dot16(const float* a, const float* b) {
  vf sum{};
  for (int k = 0; k < kGeometry; k += L) sum += load<vf>(a + k) * load<vf>(b + k);
  return sum_lanes(sum);
}

// Sums [18] of ray r of the chunk.
static inline void composite(const Chunk& c, int r, float* sums) {
  alignas(64) float sum[kGeometry] = {};
  float left = 1.0f, depth = 0.0f, depth_sq = 0.0f;
  for (int i = c.start[r]; i < c.start[r + 1]; i++) {
    const float w = left * c.alpha[i];
    left -= w;
    add_scaled(sum, w, c.blended + i * kGeometry);
    depth += w * c.s[i];
    depth_sq += w * c.s[i] * c.s[i];
  }
  for (int k = 0; k < kGeometry; k++) sums[k] = sum[k];
  sums[kGeometry] = depth;
  sums[kGeometry + 1] = depth_sq;
}

// Gradient of the sums of ray r -> gradient of geometry, sample-major [16] (slot 0: log density).
static inline void composite_backward(const Chunk& c, int r, const float* g, float step, float* d_blended) {
  alignas(64) float first[kGeometry];
  for (int k = 0; k < kGeometry; k++) first[k] = g[k];
  const float g_s = g[kGeometry], g_ss = g[kGeometry + 1];
  float value[kChunk];
  float left = 1.0f, rest = 0.0f;
  for (int i = c.start[r]; i < c.start[r + 1]; i++) {
    value[i] = dot16(first, c.blended + i * kGeometry) + c.s[i] * (g_s + g_ss * c.s[i]);
    const float w = left * c.alpha[i];
    left -= w;
    rest += w * value[i];
  }
  left = 1.0f;
  for (int i = c.start[r]; i < c.start[r + 1]; i++) {
    const float w = left * c.alpha[i];
    left -= w;
    rest -= w * value[i];
    const float log_density = c.geometry[(i / kBlock) * kGeometry * kBlock + i % kBlock];
    const bool inside = log_density >= kLogLow && log_density <= kLogHigh;
    float* d = d_blended + i * kGeometry;
    for (int k = 0; k < kGeometry; k += L) store(d + k, w * load<vf>(first + k));
    d[0] = inside ? (left * value[i] - rest) * step * c.sigma[i] : 0.0f;
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
