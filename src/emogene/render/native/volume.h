// A chunk of samples on its way through the network, for pictures.
#pragma once
#ifdef EG_MLP_AMX
#include "mlp_amx.h"
#else
#include "mlp.h"
#endif

namespace emogene {
namespace EG_NAMESPACE {

constexpr float kLogLow = -15.0f, kLogHigh = 11.0f;

// A chunk of samples of one frame. Geometry lives in blocks [16][32] and sample-major [16].
struct alignas(64) Chunk {
  float x[kChunk], y[kChunk], z[kChunk], s[kChunk];
  float encoded[kChunk * kEncoded];
  float geometry[kChunk * kGeometry];
  float blended[kChunk * kGeometry];  // sample-major: 1, h1..h15
  float sigma[kChunk], alpha[kChunk];
  int n;

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

}  // namespace EG_NAMESPACE
}  // namespace emogene
