// Deferred colour: once per ray, [opacity, 15 blended features, 16 direction harmonics] -> 16 channels.
#pragma once
#include "volume.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) ColourScratch {
  float in[32 * kBlock], hidden[kHidden * kBlock], out[kChannels * kBlock];
  float channels[kBlock * kChannels];  // premultiplied, ray-major
};

// Real spherical harmonics up to degree 3 of 32 directions; see volume.direction_basis.
static inline void harmonics(const float* const d[3], float* out) {
  for (int i = 0; i < kBlock; i += L) {
    vf axis[3];  // clamped: an empty ray may carry any direction, and 0 times NaN is NaN
    for (int k = 0; k < 3; k++) axis[k] = vmin(vmax(load<vf>(d[k] + i), splat(-1.0f)), splat(1.0f));
    const vf x = axis[0], y = axis[1], z = axis[2];
    const vf xx = x * x, yy = y * y, zz = z * z;
    const vf basis[16] = {splat(0.2821f),
                          -0.4886f * y,
                          0.4886f * z,
                          -0.4886f * x,
                          1.0925f * x * y,
                          -1.0925f * y * z,
                          0.9462f * zz - 0.3154f,
                          -1.0925f * x * z,
                          0.5463f * (xx - yy),
                          -0.5900f * y * (3.0f * xx - yy),
                          2.8906f * x * y * z,
                          0.4570f * y * (1.0f - 5.0f * zz),
                          0.3732f * z * (5.0f * zz - 3.0f),
                          0.4570f * x * (1.0f - 5.0f * zz),
                          1.4453f * z * (xx - yy),
                          -0.5900f * x * (xx - 3.0f * yy)};
    for (int k = 0; k < 16; k++) store(out + k * kBlock + i, basis[k]);
  }
}

// sums: [32][16] ray-major, slot 0 the opacity. False when all rays are empty (channels then unset).
static inline bool colour_forward(const Mlp& mlp, const float* sums, const float* const d[3], int count,
                                  ColourScratch& s) {
  bool any = false;
  for (int i = 0; i < count; i++) any |= sums[i * kGeometry] > 0.0f;
  if (!any) return false;
  transpose<kBlock, kGeometry>(sums, s.in);
  harmonics(d, s.in + kGeometry * kBlock);
  colour_layers(mlp, s.in, s.hidden, s.out);
  for (int k = 0; k < kChannels; k++)
    for (int i = 0; i < kBlock; i += L) {
      vf value = load<vf>(s.out + k * kBlock + i);
      if (k < 3) value = 1.0f / (1.0f + vexp(-value));
      store(s.out + k * kBlock + i, value * load<vf>(s.in + i));
    }
  transpose<kChannels, kBlock>(s.out, s.channels);
  return true;
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
