// Whole low-resolution images for inference: tiles of 16 x 16 rays, rounds of a few samples per ray with early
// stop, the colour network once per ray.
#pragma once
#include "colour.h"
#ifdef EG_HALF_MLP
#include "mlp_half.h"
#endif
#include "workers.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kTile = 16, kTileRays = kTile * kTile, kQuota = kChunk / kTileRays;

struct alignas(64) TileScratch {
  Mlp mlp;
  Chunk chunk;
  Activations kept;
  float t[kTileRays], far[kTileRays], past[kTileRays], left[kTileRays], d[3][kTileRays];
  float sums[kTileRays * kGeometry], depth[kTileRays], depth_sq[kTileRays];
  int32_t ray[kChunk];
  ColourScratch colour;
#ifdef EG_HALF_MLP
  HalfMlp half;
#endif
};

struct Bounds {
  float low[3], high[3];  // of the cells set in the observed-space mask, in cube coordinates
};

static Bounds mask_bounds(const uint8_t* mask) {
  int low[3] = {kCoarse, kCoarse, kCoarse}, high[3] = {0, 0, 0};
  for (int i = 0; i < kCoarse * kCoarse * kCoarse; i++) {
    if (!mask[i]) continue;
    const int at[3] = {i % kCoarse, i / kCoarse % kCoarse, i / (kCoarse * kCoarse)};
    for (int k = 0; k < 3; k++) {
      low[k] = at[k] < low[k] ? at[k] : low[k];
      high[k] = at[k] + 1 > high[k] ? at[k] + 1 : high[k];
    }
  }
  Bounds bounds;
  for (int k = 0; k < 3; k++) bounds.low[k] = (float)low[k] / kCoarse, bounds.high[k] = (float)high[k] / kCoarse;
  return bounds;
}

// First candidate, and end, of a ray inside the bounds; the candidates' grid stays that of the whole cube.
static inline Interval clip_to(const Bounds& bounds, const float* o, const float* d, float step, Interval span) {
  float near = span.near, far = span.far;
  for (int k = 0; k < 3; k++) {
    const float direction = __builtin_fabsf(d[k]) < 1e-9f ? 1e-9f : d[k];
    const float a = (bounds.low[k] - o[k]) / direction, b = (bounds.high[k] - o[k]) / direction;
    near = (a < b ? a : b) > near ? (a < b ? a : b) : near;
    far = (a > b ? a : b) < far ? (a > b ? a : b) : far;
  }
  const float skipped = (near - span.near) / step - 1.0f;
  const float first = skipped > 0.0f && skipped < 1e6f ? (float)(int)skipped : 0.0f;
  return {span.near + step * (first + 0.5f), far < span.far ? far + step : span.far};
}

static void start_tile(const Image& image, const Bounds& bounds, int64_t row, int64_t col, TileScratch& s) {
  for (int r = 0; r < kTileRays; r++) {
    const int64_t y = row + r / kTile, x = col + r % kTile;
    float d[3] = {0.0f, 0.0f, 1.0f};
    Interval span{0.0f, 0.0f};
    if (y < image.height && x < image.width) {
      for (int k = 0; k < 3; k++) d[k] = image.directions[3 * (y * image.width + x) + k];
      span = cube_interval(image.origin, d);
      if (span.near < span.far) span = clip_to(bounds, image.origin, d, image.step, span);
    }
    const float* o = image.origin;
    for (int k = 0; k < 3; k++) s.d[k][r] = d[k];
    s.past[r] = (0.5f - o[0]) * d[0] + (0.5f - o[1]) * d[1] + (0.5f - o[2]) * d[2];
    s.t[r] = span.near;
    s.far[r] = span.far;
    s.left[r] = 1.0f;
    s.depth[r] = s.depth_sq[r] = 0.0f;
  }
  __builtin_memset(s.sums, 0, sizeof s.sums);
}

// Take up to kQuota samples from each of L rays that are still open.
static void march_packet(const Field& field, const Image& image, int first, TileScratch& s) {
  Chunk& c = s.chunk;
  const vf far = load<vf>(s.far + first), past = load<vf>(s.past + first);
  const vf dx = load<vf>(s.d[0] + first), dy = load<vf>(s.d[1] + first), dz = load<vf>(s.d[2] + first);
  const vi open = load<vf>(s.left + first) > image.stop;
  vf t = load<vf>(s.t + first);
  vi taken{};
  for (;;) {
    const vi live = open & (t < far) & (taken < kQuota);
    if (!lane_bits(live)) break;
    vf x = sanitize(image.origin[0] + t * dx), y = sanitize(image.origin[1] + t * dy);
    vf z = sanitize(image.origin[2] + t * dz);
    const vi maybe = live & occupied(image.mask, kCoarse, x, y, z);
    if (lane_bits(maybe)) {
      if (image.warp) warp_points(image.warp, (int)image.warp_side, x, y, z);
      const vi hit = maybe & occupied(field.cells, (int)field.cells_side, x, y, z);
      uint32_t bits = lane_bits(hit);
      taken -= hit;
      alignas(64) float lx[L], ly[L], lz[L], ls[L];
      store(lx, x), store(ly, y), store(lz, z), store(ls, t - past);
      for (; bits; bits &= bits - 1, c.n++) {
        const int j = __builtin_ctz(bits);
        c.x[c.n] = lx[j], c.y[c.n] = ly[j], c.z[c.n] = lz[j], c.s[c.n] = ls[j];
        s.ray[c.n] = first + j;
      }
    }
    const vf zero{};
    t += live ? splat(image.step) : zero;
  }
  store(s.t + first, t);
}

static void composite_round(TileScratch& s) {
  const Chunk& c = s.chunk;
  for (int i = 0; i < c.n; i++) {
    const int r = s.ray[i];
    const float w = s.left[r] * c.alpha[i];
    s.left[r] -= w;
    add_scaled(s.sums + r * kGeometry, w, c.blended + i * kGeometry);
    s.depth[r] += w * c.s[i];
    s.depth_sq[r] += w * c.s[i] * c.s[i];
  }
}

static void finish_tile(const Image& image, int64_t row, int64_t col, TileScratch& s) {
  for (int first = 0; first < kTileRays; first += kBlock) {
    const float* d[3] = {s.d[0] + first, s.d[1] + first, s.d[2] + first};
    const bool any = colour_forward(s.mlp, s.sums + first * kGeometry, d, kBlock, s.colour);
    for (int i = 0; i < kBlock; i++) {
      const int r = first + i;
      const int64_t y = row + r / kTile, x = col + r % kTile;
      if (y >= image.height || x >= image.width) continue;
      const int64_t pixel = y * image.width + x;
      for (int k = 0; k < kChannels; k++)
        image.channels[pixel * kChannels + k] = any ? s.colour.channels[i * kChannels + k] : 0.0f;
      image.opacity[pixel] = s.sums[r * kGeometry];
      image.depth[pixel] = s.depth[r];
      image.depth_sq[pixel] = s.depth_sq[r];
    }
  }
}

// Geometry of the samples of a round.
#ifdef EG_HALF_MLP
static inline void ask_network(const Field& field, const Image&, TileScratch& s) {
  Chunk& c = s.chunk;
  _Float16* encoded = (_Float16*)c.encoded;
  encode_chunk(field, c.x, c.y, c.z, c.blocks() * kBlock, encoded);
  int b = 0;
  for (; b + 2 <= c.blocks(); b += 2)
    half_blocks<2>(s.half, encoded + b * kEncoded * kBlock, c.geometry + b * kGeometry * kBlock);
  if (b < c.blocks()) half_blocks<1>(s.half, encoded + b * kEncoded * kBlock, c.geometry + b * kGeometry * kBlock);
}
#else
static inline void ask_network(const Field& field, const Image& image, TileScratch& s) {
  Chunk& c = s.chunk;
  encode_chunk(field, c.x, c.y, c.z, c.blocks() * kBlock, c.encoded);
  for (int b = 0; b < c.blocks(); b++)
    forward_block(s.mlp, image.bias, c.encoded + b * kEncoded * kBlock, c.geometry + b * kGeometry * kBlock,
                  &s.kept);
}
#endif

// Densities at points [count, 3] of the neutral head.
static void densities(const Field* field, const float* bias, const float* points, int64_t count, float* out,
                      void* scratch, int thread, int threads) {
  TileScratch& s = *(TileScratch*)scratch;
  Chunk& c = s.chunk;
  Image image{};
  image.bias = bias;
  s.mlp.prepare(*field);
#ifdef EG_HALF_MLP
  s.half.prepare(*field, bias);
#endif
  for (int64_t first = (int64_t)thread * kChunk; first < count; first += (int64_t)threads * kChunk) {
    c.n = (int)(count - first < kChunk ? count - first : kChunk);
    for (int i = 0; i < c.n; i++) {
      const float* p = points + 3 * (first + i);
      c.x[i] = p[0], c.y[i] = p[1], c.z[i] = p[2];
    }
    c.pad();
    for (int i = 0; i < c.blocks() * kBlock; i += L) {
      store(c.x + i, sanitize(load<vf>(c.x + i)));
      store(c.y + i, sanitize(load<vf>(c.y + i)));
      store(c.z + i, sanitize(load<vf>(c.z + i)));
    }
    ask_network(*field, image, s);
    activate(c, 0.0f);
    __builtin_memcpy(out + first, c.sigma, sizeof(float) * (size_t)c.n);
  }
}

static void render_image(const Field* field, const Image* image, void* scratch, int, int) {
  TileScratch& s = *(TileScratch*)scratch;
  Chunk& c = s.chunk;
  s.mlp.prepare(*field);
#ifdef EG_HALF_MLP
  s.half.prepare(*field, image->bias);
#endif
  const Bounds bounds = mask_bounds(image->mask);
  const int64_t across = (image->width + kTile - 1) / kTile, down = (image->height + kTile - 1) / kTile;
  for (;;) {
    const int64_t tile = __atomic_fetch_add(image->next_tile, 1, __ATOMIC_RELAXED);
    if (tile >= across * down) break;
    const int64_t row = tile / across * kTile, col = tile % across * kTile;
    start_tile(*image, bounds, row, col, s);
    for (;;) {
      c.n = 0;
      for (int first = 0; first < kTileRays; first += L) march_packet(*field, *image, first, s);
      if (!c.n) break;
      c.pad();
      ask_network(*field, *image, s);
      activate(c, image->step);
      composite_round(s);
    }
    finish_tile(*image, row, col, s);
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
