// Head over torso at low resolution, straight into the decoder's input picture: what torso.Torso and
// model.layered compute, for one frame. The torso's small networks of the pose (bend, shade) stay in torch.
#pragma once
#include "layer.h"
#include "march.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kTorsoOutputs = (kChannels + 1 + kTileOutputs - 1) / kTileOutputs * kTileOutputs;
constexpr int kRow = 2 * kMostLow;  // torso samples of half a low row's height

struct alignas(64) ComposeScratch {
  float knot_row[2][kKnots];
  int32_t corner[kRow];                     // first texel, floats into the plane
  float right[kRow], below[kRow];           // bilinear weights
  float placed[2][2][kRow];                 // [dy][axis] on the plane, -1..1
  float sampled[kMostLow * kTorsoInputs];   // [pixel][dy][dx][8]
  float in[kTorsoInputs * kBlock], hidden[kTorsoHidden * kBlock], out[32 * kBlock], pixels[kBlock * kChannels];
  float enter[kTorsoInputs * kTorsoHidden], leave[kTorsoHidden * kTorsoOutputs], leave_bias[kTorsoOutputs];
};

static inline vf vtanh(vf x) { return 1.0f - 2.0f / (vexp(2.0f * x) + 1.0f); }
static inline vf sigmoid(vf x) { return 1.0f / (1.0f + vexp(-x)); }

// Texels and weights of the samples of row y (two per low pixel), the upper or lower one of its low row.
static void place_samples(const Composite& c, int64_t y, ComposeScratch& s) {
  const int count = (int)(2 * c.width), side = (int)c.plane_side;
  for (int axis = 0; axis < 2; axis++)
    for (int i = 0; i < kKnots; i++) {
      float sum = 0.0f;
      for (int j = 0; j < kKnots; j++) sum += c.across_y[y * kKnots + j] * c.knots[(axis * kKnots + j) * kKnots + i];
      s.knot_row[axis][i] = sum;
    }
  const float py = ((float)y + 0.5f) / (float)c.height - 1.0f;
  for (int x = 0; x < count; x += L) {
    vf moved[2];
    for (int axis = 0; axis < 2; axis++) {
      vf sum{};
      for (int i = 0; i < kKnots; i++) sum += s.knot_row[axis][i] * load<vf>(c.across_x + i * c.across_stride + x);
      moved[axis] = c.reach * vtanh(sum);
    }
    const vf px = (lane_numbers() + ((float)x + 0.5f)) * (1.0f / (float)c.width) - 1.0f;
    const float half = 0.5f * (float)side;
    const float* m = c.shoulders;
    const vf turned_x = px + m[0] * px + m[1] * py + m[4], turned_y = py + m[2] * px + m[3] * py + m[5];
    const vf across = (turned_x + moved[0]) * c.plane_scale, down = (turned_y + moved[1]) * c.plane_scale;
    store(s.placed[y % 2][0] + x, across);
    store(s.placed[y % 2][1] + x, down);
    vf u = (across + 1.0f) * half - 0.5f, v = (down + 1.0f) * half - 0.5f;
    // The last texel is reached from the one before it: both corners then stay inside the plane.
    const vf last = splat((float)(side - 1)), before = splat((float)(side - 2));
    u = vmin(vmax(u, vf{}), last), v = vmin(vmax(v, vf{}), last);
    const vi ix = to_int(vmin(u, before)), iy = to_int(vmin(v, before));
    store(s.right + x, u - to_float(ix));
    store(s.below + x, v - to_float(iy));
    store(s.corner + x, (iy * side + ix) * kTexel);
  }
}

// Where the low pixels of a row lie: the means of their samples.
static void keep_places(const Composite& c, int64_t row, const ComposeScratch& s) {
  for (int64_t x = 0; x < c.width; x++)
    for (int axis = 0; axis < 2; axis++) {
      const float *above = s.placed[0][axis] + 2 * x, *under = s.placed[1][axis] + 2 * x;
      c.place[(row * c.width + x) * 2 + axis] = 0.25f * (above[0] + above[1] + under[0] + under[1]);
    }
}

static void read_plane(const Composite& c, int dy, ComposeScratch& s) {
  typedef float texel __attribute__((vector_size(4 * kTexel)));
  for (int i = 0; i < (int)(2 * c.width); i++) {
    const float* at = c.plane + s.corner[i];
    const float* under = at + c.plane_side * kTexel;
    const float fx = s.right[i], fy = s.below[i];
    const texel top = load<texel>(at) * (1.0f - fx) + load<texel>(at + kTexel) * fx;
    const texel bottom = load<texel>(under) * (1.0f - fx) + load<texel>(under + kTexel) * fx;
    store(s.sampled + (i / 2) * kTorsoInputs + (2 * dy + i % 2) * kTexel, top * (1.0f - fy) + bottom * fy);
  }
}

// Torso channels and alpha of up to 32 pixels, laid under the head.
static void torso_block(const Composite& c, int64_t row, int first, int count, ComposeScratch& s) {
  transpose<kBlock, kTorsoInputs>(s.sampled + first * kTorsoInputs, s.in);
  layer<kTorsoInputs, kTorsoHidden, true>(s.enter, c.shade, s.in, s.hidden);
  layer<kTorsoHidden, kTorsoOutputs, false>(s.leave, s.leave_bias, s.hidden, s.out);
  for (int i = 0; i < kBlock; i += L) {
    for (int k = 0; k < 3; k++) store(s.out + k * kBlock + i, sigmoid(load<vf>(s.out + k * kBlock + i)));
    store(s.out + kChannels * kBlock + i, sigmoid(load<vf>(s.out + kChannels * kBlock + i)));
  }
  transpose<kChannels, kBlock>(s.out, s.pixels);
  for (int i = 0; i < count; i++) {
    const int64_t x = first + i, pixel = row * c.width + x;
    const float opacity = c.opacity[pixel], visible = (1.0f - opacity) * s.out[kChannels * kBlock + i];
    float* out = c.out + ((row + 1) * c.row_pixels + x + 1) * c.stride;
    for (int k = 0; k < kChannels; k += L)
      store(out + k, load<vf>(c.channels + pixel * kChannels + k) + visible * load<vf>(s.pixels + i * kChannels + k));
    out[kChannels] = opacity;
    out[kChannels + 1] = visible;
  }
}

static void head_row(const Composite& c, int64_t row) {
  for (int64_t x = 0; x < c.width; x++) {
    const int64_t pixel = row * c.width + x;
    float* out = c.out + ((row + 1) * c.row_pixels + x + 1) * c.stride;
    __builtin_memcpy(out, c.channels + pixel * kChannels, sizeof(float) * kChannels);
    out[kChannels] = c.opacity[pixel];
    out[kChannels + 1] = 0.0f;
  }
}

static void compose(const Composite* composite, void* scratch, int thread, int threads) {
  const Composite& c = *composite;
  ComposeScratch& s = *(ComposeScratch*)scratch;
  __builtin_memset(s.leave, 0, sizeof s.leave);
  __builtin_memset(s.leave_bias, 0, sizeof s.leave_bias);
  for (int h = 0; h < kTorsoHidden; h++) {
    // Samples come as [dy][dx][8], the weights want [8][dy][dx].
    for (int k = 0; k < kTorsoInputs; k++)
      s.enter[(k % 4 * kTexel + k / 4) * kTorsoHidden + h] = c.enter[h * kTorsoInputs + k];
    for (int o = 0; o <= kChannels; o++) s.leave[h * kTorsoOutputs + o] = c.leave[o * kTorsoHidden + h];
  }
  for (int o = 0; o <= kChannels; o++) s.leave_bias[o] = c.leave_bias[o];
  for (int64_t row = thread; row < c.height; row += threads) {
    if (row < c.top) {
      head_row(c, row);
      // Pixels of the torso's first row also look at the row above.
      if (c.place && row == c.top - 1) {
        for (int dy = 0; dy < 2; dy++) place_samples(c, 2 * c.top + dy, s);
        keep_places(c, row, s);
      }
      continue;
    }
    for (int dy = 0; dy < 2; dy++) {
      place_samples(c, 2 * row + dy, s);
      read_plane(c, dy, s);
    }
    if (c.place) keep_places(c, row, s);
    for (int x = 0; x < (int)c.width; x += kBlock)
      torso_block(c, row, x, (int)(c.width - x < kBlock ? c.width - x : kBlock), s);
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
