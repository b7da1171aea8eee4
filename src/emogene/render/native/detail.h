// The decoder's picture enlarged twice, with detail laid over it: what detail.surface_place, detail.Detail and
// detail.add_detail compute, for one frame. Written as [4 planes][4 x 4 pixels] per low pixel, as paint.h reads it.
#pragma once
#include "march.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr float kFaintSurface = 1e-3f;
constexpr int kPixels = 16;  // of a low pixel

// Weights of neighbours for the 4 x 4 pixels inside a low pixel.
struct Spread {
  alignas(64) float low[9][kPixels];    // of the 3 x 3 low pixels around: four times enlarged, bilinear
  alignas(64) float half[16][kPixels];  // of the 4 x 4 half-size pixels around: twice enlarged
};

static Spread make_spread() {
  const float low[4][3] = {{0.375f, 0.625f, 0}, {0.125f, 0.875f, 0}, {0, 0.875f, 0.125f}, {0, 0.625f, 0.375f}};
  const float half[4][4] = {{0.25f, 0.75f, 0, 0}, {0, 0.75f, 0.25f, 0}, {0, 0.25f, 0.75f, 0}, {0, 0, 0.75f, 0.25f}};
  Spread spread;
  for (int p = 0; p < kPixels; p++) {
    for (int k = 0; k < 9; k++) spread.low[k][p] = low[p / 4][k / 3] * low[p % 4][k % 3];
    for (int k = 0; k < 16; k++) spread.half[k][p] = half[p / 4][k / 4] * half[p % 4][k % 4];
  }
  return spread;
}

static inline int64_t within(int64_t i, int64_t count) { return i < 0 ? 0 : i < count ? i : count - 1; }

// Where rays end on the neutral head: weighted x, weighted y, weight of every low pixel.
static void find_surface(const Enlargement& e, int thread, int threads) {
  for (int64_t row = thread; row < e.height; row += threads)
    for (int64_t col = 0; col < e.width; col += L) {
      alignas(64) float d[3][L], opacity[L], depth[L];
      for (int j = 0; j < L; j++) {
        const int64_t pixel = row * e.width + within(col + j, e.width);
        for (int k = 0; k < 3; k++) d[k][j] = e.directions[3 * pixel + k];
        opacity[j] = e.opacity[pixel], depth[j] = e.depth[pixel];
      }
      const vf dx = load<vf>(d[0]), dy = load<vf>(d[1]), dz = load<vf>(d[2]), solid = load<vf>(opacity);
      const vf nearest = (0.5f - e.origin[0]) * dx + (0.5f - e.origin[1]) * dy + (0.5f - e.origin[2]) * dz;
      const vf length = nearest + load<vf>(depth) / vmax(solid, splat(kFaintSurface));
      vf x = sanitize(e.origin[0] + length * dx), y = sanitize(e.origin[1] + length * dy);
      vf z = sanitize(e.origin[2] + length * dz);
      warp_points(e.warp, (int)e.warp_side, x, y, z);
      const vf weight = solid + kFaintSurface;
      alignas(64) float out[3][L];
      store(out[0], x * weight), store(out[1], y * weight), store(out[2], weight);
      for (int j = 0; j < L && col + j < e.width; j++)
        for (int k = 0; k < 3; k++) e.surface[(row * e.width + col + j) * 3 + k] = out[k][j];
    }
}

// Texture coordinates in texels of one low pixel: the mean over 3 x 3.
static inline void place_of(const Enlargement& e, int64_t row, int64_t col, float* u, float* v) {
  float sum[3] = {0, 0, 0};
  for (int k = 0; k < 9; k++) {
    const float* at = e.surface + (within(row + k / 3 - 1, e.height) * e.width + within(col + k % 3 - 1, e.width)) * 3;
    for (int i = 0; i < 3; i++) sum[i] += at[i];
  }
  *u = sum[0] / sum[2] * (float)e.side - 0.5f;
  *v = (1.0f - sum[1] / sum[2]) * (float)e.side - 0.5f;
}

// Two channels of a layer-major bf16 texture at four texels.
static inline void read_texture(const uint32_t* base, int step, vi corner, int row_step, const vf* weight, vf* even,
                                vf* odd) {
  *even = *odd = vf{};
  for (int k = 0; k < 4; k++) {
    const vu pair = gather(base, corner + (k & 1 ? step : 0) + (k & 2 ? row_step : 0));
    *even += weight[k] * bits_to_float(pair << 16);
    *odd += weight[k] * bits_to_float(pair & 0xffff0000u);
  }
}

// A low pixel and its eight neighbours: gains, and texels in which they lie.
struct Around {
  float u[9], v[9], gain[9][kMostLayers];
};

// Adds `layers` pictures of a texture [rows, columns, pairs], under their gains, to the 4 x 4 pixels of `out`.
static void lay_over(const uint32_t* texture, int64_t columns, int64_t rows, int64_t layers, const Around& around,
                     const Spread& spread, float* out) {
  const int pairs = (int)(3 * layers + 1) / 2, side = (int)columns;
  const vf last_s = splat((float)(columns - 1)), last_t = splat((float)(rows - 1));
  for (int i = 0; i < kPixels; i += L) {
    vf s{}, t{};
    for (int k = 0; k < 9; k++) {
      s += around.u[k] * load<vf>(spread.low[k] + i);
      t += around.v[k] * load<vf>(spread.low[k] + i);
    }
    s = vmin(vmax(s, vf{}), last_s), t = vmin(vmax(t, vf{}), last_t);
    const vi is = to_int(vmin(s, last_s - 1.0f)), it = to_int(vmin(t, last_t - 1.0f));
    const vf fs = s - to_float(is), ft = t - to_float(it);
    const vf weight[4] = {(1.0f - fs) * (1.0f - ft), fs * (1.0f - ft), (1.0f - fs) * ft, fs * ft};
    const vi corner = (it * side + is) * pairs;
    vf texel[3 * kMostLayers + 1];
    for (int p = 0; p < pairs; p++)
      read_texture(texture + p, pairs, corner, side * pairs, weight, texel + 2 * p, texel + 2 * p + 1);
    for (int64_t layer = 0; layer < layers; layer++) {
      vf fine{};
      for (int k = 0; k < 9; k++) fine += around.gain[k][layer] * load<vf>(spread.low[k] + i);
      for (int c = 0; c < 3; c++)
        store(out + c * kPixels + i, load<vf>(out + c * kPixels + i) + fine * texel[3 * layer + c]);
    }
  }
}

static void add_head(const Enlargement& e, const Spread& spread, int64_t row, int64_t col, float* out) {
  Around around;
  bool any = false;
  for (int k = 0; k < 9; k++) {
    const int64_t y = within(row + k / 3 - 1, e.height), x = within(col + k % 3 - 1, e.width);
    const float reach = e.opacity[y * e.width + x] - e.thin;
    const float* made = e.decoded + ((y + 1) * e.row_pixels + x + 1) * e.channels + kPixels;
    for (int64_t layer = 0; layer < e.layers; layer++)
      around.gain[k][layer] = reach > 0.0f ? reach * made[layer] : 0.0f;
    any |= reach > 0.0f;
    around.u[k] = e.place[(y * e.width + x) * 2], around.v[k] = e.place[(y * e.width + x) * 2 + 1];
  }
  if (any) lay_over(e.texture, e.side, e.side, e.layers, around, spread, out);
}

// The torso's gain is the last of the decoder's outputs; its texture lacks the square's upper rows.
static void add_torso(const Enlargement& e, const Spread& spread, int64_t row, int64_t col, float* out) {
  Around around;
  bool any = false;
  const float half = 0.5f * (float)e.torso_columns, above = (float)(e.torso_columns - e.torso_rows);
  for (int k = 0; k < 9; k++) {
    const int64_t y = within(row + k / 3 - 1, e.height), x = within(col + k % 3 - 1, e.width);
    const int64_t pixel = (y + 1) * e.row_pixels + x + 1;
    const float reach = e.composite[pixel * e.stride + kChannels + 1] - e.thin;
    around.gain[k][0] = reach > 0.0f ? reach * e.decoded[(pixel + 1) * e.channels - 1] : 0.0f;
    any |= reach > 0.0f;
    const float* place = e.torso_place + (y * e.width + x) * 2;
    around.u[k] = (place[0] + 1.0f) * half - 0.5f, around.v[k] = (place[1] + 1.0f) * half - 0.5f - above;
  }
  if (any) lay_over(e.torso, e.torso_columns, e.torso_rows, 1, around, spread, out);
}

static void enlarge(const Enlargement* enlargement, int phase, int thread, int threads) {
  const Enlargement& e = *enlargement;
  if (phase == 0) return find_surface(e, thread, threads);
  if (phase == 1) {
    for (int64_t row = thread; row < e.height; row += threads)
      for (int64_t col = 0; col < e.width; col++) {
        float* place = e.place + (row * e.width + col) * 2;
        place_of(e, row, col, place, place + 1);
      }
    return;
  }
  const Spread spread = make_spread();
  const int64_t cols = (e.width + kCell - 1) / kCell, rows = (e.height + kCell - 1) / kCell;
  const int64_t cells = e.n_cells >= 0 ? e.n_cells : rows * cols;
  for (int64_t i = cells * thread / threads; i < cells * (thread + 1) / threads; i++) {
    const int64_t cell = e.n_cells >= 0 ? e.cells[i] : i;
    for (int k = 0; k < kCell * kCell; k++) {
      const int64_t y = kCell * (cell / cols) + k / kCell, x = kCell * (cell % cols) + k % kCell;
      if (y >= e.height || x >= e.width) continue;
      float* out = e.out + ((y + 1) * e.row_pixels + x + 1) * 4 * kPixels;
      float near[16];
      for (int plane = 0; plane < 4; plane++) {
        for (int p = 0; p < 16; p++) {
          const int64_t half_y = within(2 * y + p / 4 - 1, 2 * e.height), half_x = within(2 * x + p % 4 - 1, 2 * e.width);
          const float* at = e.decoded + ((half_y / 2 + 1) * e.row_pixels + half_x / 2 + 1) * e.channels;
          near[p] = at[4 * plane + 2 * (half_y & 1) + (half_x & 1)];
        }
        for (int j = 0; j < kPixels; j += L) {
          vf sum{};
          for (int p = 0; p < 16; p++) sum += near[p] * load<vf>(spread.half[p] + j);
          store(out + plane * kPixels + j, sum);
        }
      }
      if (e.layers) add_head(e, spread, y, x, out);
      if (e.torso) add_torso(e, spread, y, x, out);
    }
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
