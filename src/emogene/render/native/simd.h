// Vectors of EG_LANES floats by compiler extensions; intrinsics only where compilers do poorly.
#pragma once
#include <cstdint>
#if EG_LANES >= 8
#include <immintrin.h>
#endif

namespace emogene {
namespace EG_NAMESPACE {

constexpr int L = EG_LANES;
typedef float vf __attribute__((vector_size(4 * EG_LANES)));
typedef int32_t vi __attribute__((vector_size(4 * EG_LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * EG_LANES)));

template <class V, class T> static inline V load(const T* p) {
  V v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T> static inline void store(T* p, V v) { __builtin_memcpy(p, &v, sizeof v); }

static inline vf splat(float x) { return x - vf{}; }
static inline vi splat(int32_t x) { return x - vi{}; }
static inline vu splat(uint32_t x) { return x - vu{}; }
// The comparison is false for NaN, so vmax(NaN, b) = vmin(NaN, b) = b.
static inline vf vmax(vf a, vf b) { return a > b ? a : b; }
static inline vf vmin(vf a, vf b) { return a < b ? a : b; }
static inline vi to_int(vf x) { return __builtin_convertvector(x, vi); }
static inline vf to_float(vi x) { return __builtin_convertvector(x, vf); }
static inline vf bits_to_float(vu x) { return (vf)x; }

static inline vu gather(const uint32_t* base, vi index) {
#if EG_LANES == 16
  return (vu)_mm512_i32gather_epi32((__m512i)index, base, 4);
#elif EG_LANES == 8
  return (vu)_mm256_i32gather_epi32((const int*)base, (__m256i)index, 4);
#else
  vu v;
  for (int j = 0; j < L; j++) v[j] = base[index[j]];
  return v;
#endif
}
// Two neighbours each: base[index] and base[index + 1].
static inline void gather_pairs(const uint32_t* base, vi index, vu& first, vu& second) {
#if EG_LANES == 16
  const __m512i low = _mm512_i32gather_epi64(_mm512_castsi512_si256((__m512i)index), base, 4);
  const __m512i high = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64((__m512i)index, 1), base, 4);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  first = (vu)_mm512_permutex2var_epi32(low, even, high);
  second = (vu)_mm512_permutex2var_epi32(low, _mm512_add_epi32(even, _mm512_set1_epi32(1)), high);
#else
  first = gather(base, index);
  second = gather(base, index + 1);
#endif
}

static inline vf gather(const float* base, vi index) { return (vf)gather((const uint32_t*)base, index); }

// Bit j is set when lane j of a comparison holds.
static inline uint32_t lane_bits(vi mask) {
#if EG_LANES == 16
  return _mm512_movepi32_mask((__m512i)mask);
#elif EG_LANES == 8
  return (uint32_t)_mm256_movemask_ps((__m256)mask);
#else
  uint32_t bits = 0;
  for (int j = 0; j < L; j++) bits |= (uint32_t)(mask[j] & 1) << j;
  return bits;
#endif
}

static inline float sum_lanes(vf v) {
#if EG_LANES == 16
  return _mm512_reduce_add_ps((__m512)v);
#else
  float s = 0;
  for (int j = 0; j < L; j++) s += v[j];
  return s;
#endif
}

// exp with relative error below 2e-7 on [-87, 88]; arguments outside are clamped, NaN gives exp(-87).
static inline vf vexp(vf x) {
  x = vmin(vmax(x, splat(-87.0f)), splat(88.0f));
  const vf scaled = x * 1.44269504f;
  const vi n = to_int(scaled + (scaled > 0.0f ? splat(0.5f) : splat(-0.5f)));
  const vf whole = to_float(n);
  const vf r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;
  vf p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (vf)((n + 127) << 23);
}

// Write the lanes of v whose bit is set to `to`, one after the other; up to L floats there are touched.
static inline void append_lanes(float* to, vf v, uint32_t bits) {
#if EG_LANES == 16
  store(to, (vf)_mm512_maskz_compress_ps((__mmask16)bits, (__m512)v));
#else
  alignas(64) float lanes[L];
  store(lanes, v);
  for (; bits; bits &= bits - 1) *to++ = lanes[__builtin_ctz(bits)];
#endif
}

// a0 b0 a1 b1 ...
static inline void interleave(vf a, vf b, float* out) {
#if EG_LANES == 16
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  store(out, (vf)_mm512_permutex2var_ps((__m512)a, low, (__m512)b));
  store(out + L, (vf)_mm512_permutex2var_ps((__m512)a, high, (__m512)b));
#elif EG_LANES == 8
  const __m256 low = _mm256_unpacklo_ps((__m256)a, (__m256)b), high = _mm256_unpackhi_ps((__m256)a, (__m256)b);
  store(out, (vf)_mm256_permute2f128_ps(low, high, 0x20));
  store(out + L, (vf)_mm256_permute2f128_ps(low, high, 0x31));
#else
  for (int j = 0; j < L; j++) out[2 * j] = a[j], out[2 * j + 1] = b[j];
#endif
}

// As append_lanes for `rows` rows of 32 numbers of 32 bits: columns whose bit is set, to the columns from `at` on.
static inline void append_columns(const uint32_t* from, int rows, uint32_t bits, uint32_t* to, int at) {
#if EG_LANES == 16
  const __mmask16 low = (__mmask16)bits, high = (__mmask16)(bits >> 16);
  const int first = __builtin_popcount(low), second = __builtin_popcount(high);
  const __mmask16 low_to = (__mmask16)((1u << first) - 1), high_to = (__mmask16)((1u << second) - 1);
  for (int r = 0; r < rows; r++, from += 32, to += 32) {
    _mm512_mask_storeu_epi32(to + at, low_to, _mm512_maskz_compress_epi32(low, _mm512_loadu_si512(from)));
    _mm512_mask_storeu_epi32(to + at + first, high_to, _mm512_maskz_compress_epi32(high, _mm512_loadu_si512(from + 16)));
  }
#else
  int columns[32], count = 0;
  for (; bits; bits &= bits - 1) columns[count++] = __builtin_ctz(bits);
  for (int r = 0; r < rows; r++, from += 32, to += 32)
    for (int i = 0; i < count; i++) to[at + i] = from[columns[i]];
#endif
}

// Pack to bf16 with rounding to nearest: a in the low half, b in the high half of each lane.
static inline vu pack_bf16(vf a, vf b) {
  return (((vu)a + 0x8000u) >> 16) | (((vu)b + 0x8000u) & 0xffff0000u);
}

// dst[c][r] = src[r][c] for rows x cols floats, multiples of 16.
static inline void transpose16(const float* src, int src_stride, float* dst, int dst_stride) {
#if EG_LANES == 16
  __m512i r[16], t[16];
  for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_si512(src + i * src_stride);
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    _mm512_storeu_si512(dst + i * dst_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_storeu_si512(dst + (i + 8) * dst_stride, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    _mm512_storeu_si512(dst + (i + 4) * dst_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_storeu_si512(dst + (i + 12) * dst_stride, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
  }
#else
  for (int c = 0; c < 16; c++)
    for (int r = 0; r < 16; r++) dst[c * dst_stride + r] = src[r * src_stride + c];
#endif
}

template <int ROWS, int COLS> static inline void transpose(const float* src, float* dst) {
  for (int r = 0; r < ROWS; r += 16)
    for (int c = 0; c < COLS; c += 16) transpose16(src + r * COLS + c, COLS, dst + c * ROWS + r, ROWS);
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
