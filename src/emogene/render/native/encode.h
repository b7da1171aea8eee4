// Multi-resolution hash encoding, forward and its scatter. Level by level over a chunk of samples, so that
// one level's table stays in the cache; one 32-bit gather fetches both bf16 features of a corner.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr uint32_t kHashY = 2654435761u, kHashZ = 805459861u;
constexpr float kBelowOne = 1.0f - 1.0f / (1 << 20);

static inline vf sanitize(vf x) { return vmin(vmax(x, vf{}), splat(kBelowOne)); }

// Rows and trilinear weights of the eight corners around L sanitized points.
struct Corners {
  vi row[8];
  vf weight[8];

  inline Corners(const Level& level, vf x, vf y, vf z) {
    const vf sx = x * level.resolution, sy = y * level.resolution, sz = z * level.resolution;
    const vi ix = to_int(sx), iy = to_int(sy), iz = to_int(sz);
    const vf fx = sx - to_float(ix), fy = sy - to_float(iy), fz = sz - to_float(iz);
    const vf gx = 1.0f - fx, gy = 1.0f - fy, gz = 1.0f - fz;
    const vf plane[4] = {gy * gz, fy * gz, gy * fz, fy * fz};
    if (level.dense) {
      const vi base = (vi)((vu)ix + (vu)iy * level.side + (vu)iz * (level.side * level.side));
      for (int k = 0; k < 4; k++) {
        row[2 * k] = base + (int32_t)((k & 1 ? level.side : 0) + (k & 2 ? level.side * level.side : 0));
        row[2 * k + 1] = row[2 * k] + 1;
      }
    } else {
      const vu y0 = (vu)iy * kHashY, y1 = y0 + kHashY, z0 = (vu)iz * kHashZ, z1 = z0 + kHashZ;
      const vu x0 = (vu)ix, x1 = x0 + 1u;
      const vu pair[4] = {y0 ^ z0, y1 ^ z0, y0 ^ z1, y1 ^ z1};
      for (int k = 0; k < 4; k++) {
        row[2 * k] = (vi)((x0 ^ pair[k]) & level.mask);
        row[2 * k + 1] = (vi)((x1 ^ pair[k]) & level.mask);
      }
    }
    for (int k = 0; k < 4; k++) {
      weight[2 * k] = gx * plane[k];
      weight[2 * k + 1] = fx * plane[k];
    }
  }
};

static inline void keep_feature(float* at, vf v) { store(at, v); }
#ifdef EG_HALF_MLP
static inline void keep_feature(_Float16* at, vf v) {
  _mm256_store_si256((__m256i*)at, _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
#endif

// points x, y, z [count], count a multiple of 32 -> out [count / 32][32 features][32 samples], `block` apart.
template <class Feature>
static void encode_chunk(const Field& field, const float* x, const float* y, const float* z, int count, Feature* out,
                         int block = kEncoded * kBlock) {
  for (int l = 0; l < kLevels; l++) {
    const Level level = field.levels[l];
    const uint32_t* table = field.table + level.offset;
    for (int i = 0; i < count; i += L) {
      const Corners corners(level, load<vf>(x + i), load<vf>(y + i), load<vf>(z + i));
      vf a{}, b{};
      const auto add = [&](vu pair, vf weight) {
        a += bits_to_float(pair << 16) * weight;
        b += bits_to_float(pair & 0xffff0000u) * weight;
      };
      if (level.dense) {
        for (int k = 0; k < 8; k += 2) {
          vu low, high;
          gather_pairs(table, corners.row[k], low, high);
          add(low, corners.weight[k]);
          add(high, corners.weight[k + 1]);
        }
      } else {
        for (int k = 0; k < 8; k++) add(gather(table, corners.row[k]), corners.weight[k]);
      }
      Feature* at = out + (i / kBlock) * block + 2 * l * kBlock + i % kBlock;
      keep_feature(at, a);
      keep_feature(at + kBlock, b);
    }
  }
}

// Add the gradients of one level's features to the table's gradient [rows, 2].
static void scatter_level(const Field* field, const ScatterBuffer* buffers, int n_buffers, float* table_grad,
                          int l) {
  const Level level = field->levels[l];
  float* grad = table_grad + 2 * level.offset;
  for (int b = 0; b < n_buffers; b++) {
    const ScatterBuffer& buffer = buffers[b];
    for (int64_t n = 0; n < buffer.count; n++) {
      const ScatterBlock& block = buffer.blocks[n];
      const float* g = block.features + 2 * l * kBlock;
      if (n + 1 < buffer.count)  // a block is longer than a page: nobody fetches ahead across it
        for (int line = 0; line < 4; line++) __builtin_prefetch(g + sizeof block / 4 + 16 * line);
      for (int i = 0; i < kBlock; i += L) {
        const Corners corners(level, load<vf>(block.x + i), load<vf>(block.y + i), load<vf>(block.z + i));
        const vf a = load<vf>(g + i), c = load<vf>(g + kBlock + i);
        for (int k = 0; k < 8; k++) {
          alignas(64) int32_t row[L];
          alignas(64) float share[2 * L];
          store(row, corners.row[k]);
          interleave(a * corners.weight[k], c * corners.weight[k], share);
          for (int j = 0; j < L; j++) {
            typedef float pair __attribute__((vector_size(8)));
            float* at = grad + 2 * (int64_t)row[j];
            store(at, load<pair>(at) + load<pair>(share + 2 * j));
          }
        }
      }
    }
  }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
