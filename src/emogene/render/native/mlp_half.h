// The per-sample network for rendering in half precision: 32 samples fill a vector, two blocks run together.
// Sums are half as well (11 bits; the tile version rounds its inputs to 8).
#pragma once
#include <immintrin.h>

#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr float kLargestHalf = 65504.0f;

// A number twice, so that one 32-bit broadcast fills a vector of halves.
static inline uint32_t twice(float x) {
  const _Float16 half = (_Float16)(x < -kLargestHalf ? -kLargestHalf : (x > kLargestHalf ? kLargestHalf : x));
  uint16_t bits;
  __builtin_memcpy(&bits, &half, 2);
  return bits * 0x10001u;
}

// Weights [in][out] of the three layers and biases; made once per picture and thread.
struct alignas(64) HalfMlp {
  uint32_t w1[kEncoded * kHidden], w2[kHidden * kHidden], w3[kHidden * kGeometry];
  uint32_t b1[kHidden], b2[kHidden], b3[kGeometry];

  static void copy(const float* src, int64_t stride, int rows, int cols, uint32_t* out) {
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) out[c * rows + r] = twice(src[r * stride + c]);
  }
  void prepare(const Field& f, const float* bias) {
    copy(f.w1, f.w1_stride, kHidden, kEncoded, w1);
    copy(f.w2, kHidden, kHidden, kHidden, w2);
    copy(f.w3, kHidden, kGeometry, kHidden, w3);
    for (int i = 0; i < kHidden; i++) b1[i] = twice(bias[i]), b2[i] = twice(f.b2[i]);
    for (int i = 0; i < kGeometry; i++) b3[i] = twice(f.b3[i]);
  }
};

static inline __m512h spread(uint32_t x) { return (__m512h)_mm512_set1_epi32((int)x); }

// y[o] = (relu) bias[o] + sum_k weight[k][o] x[k] for B blocks of 32 samples, blocks `in` and `out` halves apart.
template <int K, int OUT, int B, bool RELU, class Store>
static inline void half_layer(const uint32_t* weight, const uint32_t* bias, const _Float16* x, int in, Store keep) {
  constexpr int T = 8;
  for (int o = 0; o < OUT; o += T) {
    __m512h sum[T][B];
    for (int i = 0; i < T; i++)
      for (int b = 0; b < B; b++) sum[i][b] = spread(bias[o + i]);
    for (int k = 0; k < K; k++) {
      __m512h v[B];
      for (int b = 0; b < B; b++) v[b] = _mm512_load_ph(x + b * in + k * kBlock);
      for (int i = 0; i < T; i++) {
        const __m512h w = spread(weight[k * OUT + o + i]);
        for (int b = 0; b < B; b++) sum[i][b] = _mm512_fmadd_ph(w, v[b], sum[i][b]);
      }
    }
    for (int i = 0; i < T; i++)
      for (int b = 0; b < B; b++) keep(o + i, b, RELU ? _mm512_max_ph(sum[i][b], _mm512_setzero_ph()) : sum[i][b]);
  }
}

// B blocks: encoded [32][32 samples] halves -> geometry [16][32 samples] floats.
template <int B> static inline void half_blocks(const HalfMlp& mlp, const _Float16* encoded, float* geometry) {
  alignas(64) _Float16 h1[B * kHidden * kBlock], h2[B * kHidden * kBlock];
  const auto into = [](_Float16* h) {
    return [h](int o, int b, __m512h v) { _mm512_store_ph(h + b * kHidden * kBlock + o * kBlock, v); };
  };
  half_layer<kEncoded, kHidden, B, true>(mlp.w1, mlp.b1, encoded, kEncoded * kBlock, into(h1));
  half_layer<kHidden, kHidden, B, true>(mlp.w2, mlp.b2, h1, kHidden * kBlock, into(h2));
  half_layer<kHidden, kGeometry, B, false>(mlp.w3, mlp.b3, h2, kHidden * kBlock, [&](int o, int b, __m512h v) {
    float* at = geometry + b * kGeometry * kBlock + o * kBlock;
    const __m512i bits = _mm512_castph_si512(v);
    _mm512_store_ps(at, _mm512_cvtph_ps(_mm512_castsi512_si256(bits)));
    _mm512_store_ps(at + L, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)));
  });
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
