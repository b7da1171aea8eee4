// Where rays are sampled: cube interval, landmark-driven warp, occupancy at the warped position.
#pragma once
#include <cmath>

#include "encode.h"

namespace emogene {
namespace EG_NAMESPACE {

struct Interval {
  float near, far;
};

// Distances at which a ray enters (not before 0) and leaves the unit cube; empty when near >= far.
static inline Interval cube_interval(const float* o, const float* d) {
  float near = 0.0f, far = 1e9f;
  for (int k = 0; k < 3; k++) {
    const float direction = __builtin_fabsf(d[k]) < 1e-9f ? 1e-9f : d[k];
    const float a = -o[k] / direction, b = (1.0f - o[k]) / direction;
    if (!(a == a) || !(b == b)) return {0.0f, 0.0f};
    near = (a < b ? a : b) > near ? (a < b ? a : b) : near;
    far = (a > b ? a : b) < far ? (a > b ? a : b) : far;
  }
  if (!(far - near < 2.0f)) far = near;  // impossible for unit directions: a broken ray sees nothing
  return {near, far};
}

// Candidates of a ray: how many multiples of step fit, never more than fit a chunk.
static inline int candidates(Interval span, float step) {
  const float n = (span.far - span.near) / step;
  return n > 0.0f ? (int)n + 1 : 0;
}

static inline vf center_offset(const float* o, const float* d) {
  return splat((0.5f - o[0]) * d[0] + (0.5f - o[1]) * d[1] + (0.5f - o[2]) * d[2]);
}

// Bytes of a table whose size is a multiple of four.
static inline vu gather_bytes(const uint8_t* base, vi index) {
  const vu word = gather((const uint32_t*)base, index >> 2);
  return (word >> ((vu)(index & 3) * 8u)) & 0xffu;
}

// Move sanitized points by a warp grid [side, side, side, 3], then sanitize.
static inline void warp_points(const float* warp, int side, vf& x, vf& y, vf& z) {
  const float scale = (float)(side - 1);
  const vf sx = x * scale, sy = y * scale, sz = z * scale;
  const vi ix = to_int(sx), iy = to_int(sy), iz = to_int(sz);
  const vf fx = sx - to_float(ix), fy = sy - to_float(iy), fz = sz - to_float(iz);
  const vi base = ((iz * side + iy) * side + ix) * 3;
  const vf low[3] = {1.0f - fx, 1.0f - fy, 1.0f - fz};
  vf moved[3] = {x, y, z};
  for (int k = 0; k < 8; k++) {
    const int dx = k & 1, dy = k >> 1 & 1, dz = k >> 2;
    const vf w = (dx ? fx : low[0]) * (dy ? fy : low[1]) * (dz ? fz : low[2]);
    const vi at = base + ((dz * side + dy) * side + dx) * 3;
    for (int axis = 0; axis < 3; axis++) moved[axis] += w * gather(warp + axis, at);
  }
  x = sanitize(moved[0]);
  y = sanitize(moved[1]);
  z = sanitize(moved[2]);
}

static inline vi occupied(const uint8_t* cells, int side, vf x, vf y, vf z) {
  const float scale = (float)side;
  const vi index = (to_int(z * scale) * side + to_int(y * scale)) * side + to_int(x * scale);
  return gather_bytes(cells, index) > 0u;
}

static inline vf lane_numbers() {
  vf v;
  for (int j = 0; j < L; j++) v[j] = (float)j;
  return v;
}

// Observed-space mask: coarse cells whose centre, warped, lies in a widened occupied cell.
static void make_mask(const Field* field, const uint8_t* wide, const float* warp, int64_t warp_side, uint8_t* out) {
  const float size = 1.0f / kCoarse;
  const vf lanes = lane_numbers();
  for (int cz = 0; cz < kCoarse; cz++)
    for (int cy = 0; cy < kCoarse; cy++)
      for (int cx = 0; cx < kCoarse; cx += L) {
        vf x = (lanes + ((float)cx + 0.5f)) * size, y = splat((cy + 0.5f) * size), z = splat((cz + 0.5f) * size);
        if (warp) warp_points(warp, (int)warp_side, x, y, z);
        const uint32_t keep = lane_bits(occupied(wide, (int)field->cells_side, x, y, z));
        for (int j = 0; j < L; j++) out[(cz * kCoarse + cy) * kCoarse + cx + j] = keep >> j & 1;
      }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
