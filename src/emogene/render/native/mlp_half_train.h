// The per-sample network in half precision, forward and backward, for training: 32 samples fill a vector.
// Gradients are scaled so that a block's largest lies at 1/8; weights' gradients are summed over a block's samples in
// halves and over blocks in floats.
#pragma once
#include "mlp_half.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) SampleMlp {
  HalfMlp forward;
  uint32_t w1[kHidden * kEncoded], w2[kHidden * kHidden], w3[kGeometry * kHidden];  // [out][in], for backward
  uint32_t zeros[kHidden];

  static void copy(const float* src, int64_t stride, int rows, int cols, uint32_t* out) {
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) out[r * cols + c] = twice(src[r * stride + c]);
  }
  void prepare(const Field& f) {
    forward.prepare(f, f.b2);  // the first bias is a frame's: see forward_blocks
    copy(f.w1, f.w1_stride, kHidden, kEncoded, w1);
    copy(f.w2, kHidden, kHidden, kHidden, w2);
    copy(f.w3, kHidden, kGeometry, kHidden, w3);
    for (uint32_t& zero : zeros) zero = 0;
  }
};

struct alignas(64) SampleActivations {
  _Float16 in[kEncoded * kBlock], h1[kHidden * kBlock], h2[kHidden * kBlock];
};

// Columns whose bit is set -> the columns of `to` from `at` on.
static inline void append_columns(const SampleActivations& from, uint32_t bits, SampleActivations& to, int at) {
  constexpr int rows = sizeof from / (2 * kBlock);
  const __mmask32 written = (__mmask32)((1ull << __builtin_popcount(bits)) - 1);
  const _Float16* source = from.in;
  _Float16* target = to.in + at;
  for (int r = 0; r < rows; r++, source += kBlock, target += kBlock)
    _mm512_mask_storeu_epi16(target, written, _mm512_maskz_compress_epi16(bits, _mm512_load_si512(source)));
}

struct alignas(64) SampleScratch {
  _Float16 d[kHidden * kBlock], next[kHidden * kBlock], by_sample[kBlock * kHidden];
  uint32_t doubled[kHidden * kBlock];
};

// Blocks of kept.in -> geometry [blocks][16][32 samples] and the hidden layers.
static inline void forward_blocks(const SampleMlp& mlp, const float* bias, int blocks, float* geometry,
                                  SampleActivations* kept) {
  constexpr int apart = sizeof(SampleActivations) / 2;
  alignas(64) uint32_t b1[kHidden];
  for (int i = 0; i < kHidden; i++) b1[i] = twice(bias[i]);
  const auto run = [&](auto count, int block) {
    constexpr int B = decltype(count)::value;
    SampleActivations* k = kept + block;
    const auto into = [](_Float16* h) { return [h](int o, int b, __m512h v) { _mm512_store_ph(h + b * apart + o * kBlock, v); }; };
    half_layer<kEncoded, kHidden, B, true>(mlp.forward.w1, b1, k->in, apart, into(k->h1));
    half_layer<kHidden, kHidden, B, true>(mlp.forward.w2, mlp.forward.b2, k->h1, apart, into(k->h2));
    half_layer<kHidden, kGeometry, B, false>(mlp.forward.w3, mlp.forward.b3, k->h2, apart, [&](int o, int b, __m512h v) {
      float* at = geometry + (block + b) * kGeometry * kBlock + o * kBlock;
      const __m512i bits = _mm512_castph_si512(v);
      _mm512_store_ps(at, _mm512_cvtph_ps(_mm512_castsi512_si256(bits)));
      _mm512_store_ps(at + L, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)));
    });
  };
  int block = 0;
  for (; block + 2 <= blocks; block += 2) run(std::integral_constant<int, 2>(), block);
  if (block < blocks) run(std::integral_constant<int, 1>(), block);
}

// h [K][32 samples] -> [32 samples][K].
template <int K> static inline void by_sample(const _Float16* h, _Float16* out) {
  alignas(64) static const uint16_t take_low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(take_low), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  alignas(64) uint32_t pairs[2][16 * 16];
  for (int k = 0; k < K; k += 32) {
    for (int r = 0; r < 16; r++) {
      const __m512i a = _mm512_load_si512(h + (k + 2 * r) * kBlock), b = _mm512_load_si512(h + (k + 2 * r + 1) * kBlock);
      _mm512_store_si512(pairs[0] + 16 * r, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(pairs[1] + 16 * r, _mm512_permutex2var_epi16(a, high, b));
    }
    for (int half = 0; half < 2; half++)
      transpose16((const float*)pairs[half], 16, (float*)(out + 16 * half * K + k), K / 2);
  }
}

// Every half of a row twice, so that one 32-bit broadcast of it fills a vector.
static inline void double_row(__m512h v, uint32_t* out) {
  const __m512i bits = _mm512_castph_si512(v);
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(bits));
  const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(bits, 1));
  _mm512_store_si512(out, _mm512_or_si512(low, _mm512_slli_epi32(low, 16)));
  _mm512_store_si512(out + 16, _mm512_or_si512(high, _mm512_slli_epi32(high, 16)));
}

static inline void add_halves(float* to, float scale, __m512h v) {
  const __m512i bits = _mm512_castph_si512(v);
  const __m512 low = _mm512_cvtph_ps(_mm512_castsi512_si256(bits)), high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1));
  _mm512_storeu_ps(to, _mm512_fmadd_ps(low, _mm512_set1_ps(scale), _mm512_loadu_ps(to)));
  _mm512_storeu_ps(to + L, _mm512_fmadd_ps(high, _mm512_set1_ps(scale), _mm512_loadu_ps(to + L)));
}

// grad[o][k] += scale sum_n d[o][n] x[n][k]; d doubled, x by sample.
template <int K, int OUT>
static inline void add_outer(const uint32_t* d, const _Float16* x, float scale, float* grad) {
  constexpr int V = K / 32, T = 16 / V;
  for (int o = 0; o < OUT; o += T) {
    __m512h sum[T][V];
    for (int i = 0; i < T; i++)
      for (int v = 0; v < V; v++) sum[i][v] = _mm512_setzero_ph();
    for (int n = 0; n < kBlock; n++) {
      __m512h in[V];
      for (int v = 0; v < V; v++) in[v] = _mm512_load_ph(x + n * K + v * 32);
      for (int i = 0; i < T; i++) {
        const __m512h w = spread(d[(o + i) * kBlock + n]);
        for (int v = 0; v < V; v++) sum[i][v] = _mm512_fmadd_ph(w, in[v], sum[i][v]);
      }
    }
    for (int i = 0; i < T; i++)
      for (int v = 0; v < V; v++) add_halves(grad + (o + i) * K + v * 32, scale, sum[i][v]);
  }
}

static inline __m512h sum_of(__m512i a, __m512i b) { return _mm512_add_ph(_mm512_castsi512_ph(a), _mm512_castsi512_ph(b)); }

// Sums of 32 rows of 32 halves, in pairs of pairs, as one vector.
static inline __m512h row_sums(const _Float16* rows) {
  __m512i v[32];
  for (int r = 0; r < 32; r++) v[r] = _mm512_load_si512(rows + r * kBlock);
  for (int i = 0; i < 16; i++)
    v[i] = _mm512_castph_si512(sum_of(_mm512_unpacklo_epi16(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi16(v[2 * i], v[2 * i + 1])));
  for (int i = 0; i < 8; i++)
    v[i] = _mm512_castph_si512(sum_of(_mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1])));
  for (int i = 0; i < 4; i++)
    v[i] = _mm512_castph_si512(sum_of(_mm512_unpacklo_epi64(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi64(v[2 * i], v[2 * i + 1])));
  for (int i = 0; i < 2; i++)
    v[i] = _mm512_castph_si512(sum_of(_mm512_shuffle_i32x4(v[2 * i], v[2 * i + 1], 0x88), _mm512_shuffle_i32x4(v[2 * i], v[2 * i + 1], 0xdd)));
  return sum_of(_mm512_shuffle_i32x4(v[0], v[1], 0x88), _mm512_shuffle_i32x4(v[0], v[1], 0xdd));
}

// Power of two that brings the largest of a block's gradients to 1/8; 1 when they are zero or broken.
static inline float scale_for(const float* dy) {
  vf most{};
  for (int i = 0; i < kGeometry * kBlock; i += L) most = (vf)_mm512_max_ps((__m512)most, _mm512_abs_ps(_mm512_load_ps(dy + i)));
  const float largest = _mm512_reduce_max_ps((__m512)most);
  if (!(largest > 1e-30f && largest < 1e30f)) return 1.0f;
  uint32_t bits;
  __builtin_memcpy(&bits, &largest, 4);
  bits = (uint32_t)(2 * 127 - 3 - (int)(bits >> 23)) << 23;
  float scale;
  __builtin_memcpy(&scale, &bits, 4);
  return scale;
}

// Gradient of geometry -> gradient of encoded (unless null); adds weight and bias gradients.
static inline void backward_block(const SampleMlp& mlp, const SampleActivations& kept, const float* dy,
                                  Gradients& grad, float* bias1_grad, float* d_encoded, SampleScratch& s) {
  const float scale = scale_for(dy), back = 1.0f / scale;
  for (int o = 0; o < kGeometry; o++) {
    const vf low = load<vf>(dy + o * kBlock) * scale, high = load<vf>(dy + o * kBlock + L) * scale;
    const __m512h row = _mm512_castsi512_ph(_mm512_inserti64x4(
        _mm512_castsi256_si512(_mm512_cvtps_ph((__m512)low, _MM_FROUND_TO_NEAREST_INT)),
        _mm512_cvtps_ph((__m512)high, _MM_FROUND_TO_NEAREST_INT), 1));
    _mm512_store_ph(s.d + o * kBlock, row);
    double_row(row, s.doubled + o * kBlock);
    grad.b3[o] += sum_lanes(load<vf>(dy + o * kBlock) + load<vf>(dy + o * kBlock + L));
  }
  by_sample<kHidden>(kept.h2, s.by_sample);
  add_outer<kHidden, kGeometry>(s.doubled, s.by_sample, back, grad.w3);
  // Through a rectified layer: zero where it was shut.
  const auto through = [&](const _Float16* hidden, _Float16* to) {
    return [&s, hidden, to](int o, int, __m512h v) {
      const __mmask32 shown = _mm512_cmp_ph_mask(_mm512_load_ph(hidden + o * kBlock), _mm512_setzero_ph(), _CMP_GT_OQ);
      const __m512h d = _mm512_castsi512_ph(_mm512_maskz_mov_epi16(shown, _mm512_castph_si512(v)));
      _mm512_store_ph(to + o * kBlock, d);
      double_row(d, s.doubled + o * kBlock);
    };
  };
  half_layer<kGeometry, kHidden, 1, false>(mlp.w3, mlp.zeros, s.d, 0, through(kept.h2, s.next));
  for (int o = 0; o < kHidden; o += 32) add_halves(grad.b2 + o, back, row_sums(s.next + o * kBlock));
  by_sample<kHidden>(kept.h1, s.by_sample);
  add_outer<kHidden, kHidden>(s.doubled, s.by_sample, back, grad.w2);
  half_layer<kHidden, kHidden, 1, false>(mlp.w2, mlp.zeros, s.next, 0, through(kept.h1, s.d));
  for (int o = 0; o < kHidden; o += 32) add_halves(bias1_grad + o, back, row_sums(s.d + o * kBlock));
  by_sample<kEncoded>(kept.in, s.by_sample);
  add_outer<kEncoded, kHidden>(s.doubled, s.by_sample, back, grad.w1);
  if (!d_encoded) return;
  half_layer<kHidden, kEncoded, 1, false>(mlp.w1, mlp.zeros, s.d, 0, [&](int o, int, __m512h v) {
    const __m512i bits = _mm512_castph_si512(v);
    store(d_encoded + o * kBlock, (vf)_mm512_cvtph_ps(_mm512_castsi512_si256(bits)) * back);
    store(d_encoded + o * kBlock + L, (vf)_mm512_cvtph_ps(_mm512_extracti64x4_epi64(bits, 1)) * back);
  });
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
