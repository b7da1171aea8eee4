// Decoded pixels to bytes: rgb or 4:2:0 planes over a background, or rgba with straight alpha.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

// One low pixel's 4 x 4 pixels: premultiplied colours no brighter than their alpha, and the alpha, in 0..1.
struct alignas(64) Shades {
  float plane[4][16];
};

static inline void read_shades(const Picture& picture, const float* at, Shades& s) {
  const float low = picture.clear, scale = 1.0f / (1.0f - 2.0f * low);
  for (int i = 0; i < 16; i += L) {
    vf alpha = (load<vf>(at + 48 + i) - low) * scale;
    alpha = vmin(vmax(alpha, vf{}), splat(1.0f));
    for (int k = 0; k < 3; k++) store(s.plane[k] + i, vmax(vmin(load<vf>(at + 16 * k + i), alpha), vf{}));
    store(s.plane[3] + i, alpha);
  }
}

// Lay the shades over the background: bytes' range, not rounded.
static inline void lay_over(const uint8_t* background, Shades& s) {
  for (int i = 0; i < 16; i += L) {
    const vf behind = 1.0f - load<vf>(s.plane[3] + i);
    for (int k = 0; k < 3; k++) {
      vf back;
      for (int j = 0; j < L; j++) back[j] = (float)background[16 * k + i + j];
      store(s.plane[k] + i, load<vf>(s.plane[k] + i) * 255.0f + behind * back);
    }
  }
}

static inline void round_bytes(const float* values, int32_t* out) {
  for (int i = 0; i < 16; i += L)
    store(out + i, to_int(vmin(vmax(load<vf>(values + i), vf{}), splat(255.0f)) + 0.5f));
}

static inline void write_rgb(const Picture& picture, const Shades& s, int64_t y, int64_t x) {
  alignas(64) int32_t bytes[3][16];
  for (int k = 0; k < 3; k++) round_bytes(s.plane[k], bytes[k]);
  for (int r = 0; r < 4; r++) {
    uint8_t* out = picture.out + ((4 * y + r) * picture.out_width + 4 * x) * 3;
    for (int i = 0; i < 4; i++)
      for (int k = 0; k < 3; k++) out[3 * i + k] = (uint8_t)bytes[k][4 * r + i];
  }
}

static inline void write_rgba(const Picture& picture, Shades& s, int64_t y, int64_t x) {
  alignas(64) int32_t bytes[4][16];
  for (int i = 0; i < 16; i += L) {
    const vf alpha = load<vf>(s.plane[3] + i), whole = 255.0f / vmax(alpha, splat(1.0f / 64));
    for (int k = 0; k < 3; k++) store(s.plane[k] + i, load<vf>(s.plane[k] + i) * whole);
    store(s.plane[3] + i, alpha * 255.0f);
  }
  for (int k = 0; k < 4; k++) round_bytes(s.plane[k], bytes[k]);
  for (int r = 0; r < 4; r++) {
    uint8_t* out = picture.out + ((4 * y + r) * picture.out_width + 4 * x) * 4;
    for (int i = 0; i < 4; i++)
      for (int k = 0; k < 4; k++) out[4 * i + k] = (uint8_t)bytes[k][4 * r + i];
  }
}

// BT.709, limited range; colour differences of 2 x 2 pixels from their mean.
static inline void write_planes(const Picture& picture, const Shades& s, int64_t y, int64_t x) {
  alignas(64) int32_t bytes[16];
  alignas(64) float luma[16];
  for (int i = 0; i < 16; i += L) {
    const vf r = load<vf>(s.plane[0] + i), g = load<vf>(s.plane[1] + i), b = load<vf>(s.plane[2] + i);
    store(luma + i, 0.2126f * r + 0.7152f * g + 0.0722f * b);
  }
  for (int i = 0; i < 16; i += L) {
    const vf clamped = vmin(vmax(load<vf>(luma + i), vf{}), splat(255.0f));
    store(bytes + i, to_int(clamped * (219.0f / 255) + 16.5f));
  }
  const int64_t wide = picture.out_width, high = picture.out_height;
  for (int r = 0; r < 4; r++)
    for (int i = 0; i < 4; i++) picture.out[(4 * y + r) * wide + 4 * x + i] = (uint8_t)bytes[4 * r + i];
  uint8_t *blue = picture.out + wide * high, *red = blue + wide * high / 4;
  for (int r = 0; r < 2; r++)
    for (int i = 0; i < 2; i++) {
      const auto mean = [&](const float* p) {
        return 0.25f * (p[8 * r + 2 * i] + p[8 * r + 2 * i + 1] + p[8 * r + 2 * i + 4] + p[8 * r + 2 * i + 5]);
      };
      const auto byte = [](float v) { return (uint8_t)((v > -127.0f ? (v < 127.0f ? v : 127.0f) : -127.0f) + 128.5f); };
      const float grey = mean(luma);
      const int64_t place = (2 * y + r) * (wide / 2) + 2 * x + i;
      blue[place] = byte((mean(s.plane[2]) - grey) * (224.0f / 255 / 1.8556f));
      red[place] = byte((mean(s.plane[0]) - grey) * (224.0f / 255 / 1.5748f));
    }
}

static void paint(const Picture* picture, int thread, int threads) {
  const Picture& p = *picture;
  const int64_t cols = (p.width + kCell - 1) / kCell, rows = (p.height + kCell - 1) / kCell;
  const int64_t cells = p.n_cells >= 0 ? p.n_cells : rows * cols;
  for (int64_t i = cells * thread / threads; i < cells * (thread + 1) / threads; i++) {
    const int64_t cell = p.n_cells >= 0 ? p.cells[i] : i;
    for (int k = 0; k < kCell * kCell; k++) {
      const int64_t y = kCell * (cell / cols) + k / kCell, x = kCell * (cell % cols) + k % kCell;
      if (y >= p.height || x >= p.width) continue;
      Shades s;
      read_shades(p, p.decoded + ((y + 1) * p.row_pixels + x + 1) * p.channels, s);
      const int64_t to_y = y + p.top, to_x = x + p.left;
      if (p.kind == kRgba) {
        write_rgba(p, s, to_y, to_x);
        continue;
      }
      lay_over(p.background + (to_y * (p.out_width / 4) + to_x) * 48, s);
      if (p.kind == kRgb)
        write_rgb(p, s, to_y, to_x);
      else
        write_planes(p, s, to_y, to_x);
    }
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
