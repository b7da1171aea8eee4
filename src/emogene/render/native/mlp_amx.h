// The per-sample network in bf16 with fp32 sums on AMX tiles; the interface of mlp.h.
//
// Activations are pairs of features [features / 2][32 samples]: at once the B operand of the next layer.
// Weights, row-major, are the A operand. Weight gradients sum over samples and need pairs of samples instead.
#pragma once
#include "kernels.h"
#include "simd.h"
#include "tiles.h"

namespace emogene {
namespace EG_NAMESPACE {

typedef uint16_t bf16;

static inline bf16 to_bf16(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  return (bf16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Weights [out][in] and transposed [in][out], the inner size padded with zeros to whole tiles of 32.
struct alignas(64) Mlp {
  bf16 w1[kHidden * kEncoded], w2[kHidden * kHidden], w3[kGeometry * kHidden];
  bf16 w1t[kEncoded * kHidden], w2t[kHidden * kHidden], w3t[kHidden * 32];
  bf16 c1[kHidden * 32], c2[kChannels * kHidden], c1t[32 * kHidden], c2t[kHidden * 32];
  float b2[kHidden], b3[kGeometry], d1[kHidden], d2[kChannels];

  static void copy(const float* src, int64_t stride, int rows, int cols, bf16* natural, bf16* swapped) {
    const int padded = rows < 32 ? 32 : rows;
    for (int i = 0; i < cols * padded; i++) swapped[i] = 0;
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++)
        natural[r * cols + c] = swapped[c * padded + r] = to_bf16(src[r * stride + c]);
  }
  void prepare(const Field& f) {
    copy(f.w1, f.w1_stride, kHidden, kEncoded, w1, w1t);
    copy(f.w2, kHidden, kHidden, kHidden, w2, w2t);
    copy(f.w3, kHidden, kGeometry, kHidden, w3, w3t);
    for (int i = 0; i < kHidden; i++) b2[i] = f.b2[i];
    for (int i = 0; i < kGeometry; i++) b3[i] = f.b3[i];
    if (!f.c1) return;
    copy(f.c1, 32, kHidden, 32, c1, c1t);
    copy(f.c2, kHidden, kChannels, kHidden, c2, c2t);
    for (int i = 0; i < kHidden; i++) d1[i] = f.d1[i];
    for (int i = 0; i < kChannels; i++) d2[i] = f.d2[i];
  }
};

struct alignas(64) Activations {
  uint32_t in[16 * kBlock], h1[32 * kBlock], h2[32 * kBlock];  // pairs of features
};

static inline void append_columns(const Activations& from, uint32_t bits, Activations& to, int at) {
  append_columns(from.in, (int)(sizeof from / (4 * kBlock)), bits, to.in, at);
}

struct alignas(64) MlpScratch {
  float sums[kHidden * kBlock], d[kHidden * kBlock];
  uint32_t pairs[32 * kBlock], in[16 * kBlock], hidden[32 * kBlock];
  uint32_t by_sample[4][16 * 16];
  bf16 rows[kHidden * kBlock];
};

// y [OUT][32 samples] = weight [OUT][K] x, x as pairs [K / 2][32 samples].
template <int K, int OUT> static inline void multiply(const bf16* weight, const uint32_t* x, float* y) {
  stores_done();
  for (int o = 0; o < OUT; o += 16) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    for (int k = 0; k < K; k += 32) {
      TILE_LOAD(4, weight + o * K + k, K * 2);
      TILE_LOAD(6, x + k / 2 * kBlock, kBlock * 4);
      TILE_LOAD(7, x + k / 2 * kBlock + 16, kBlock * 4);
      TILE_MULTIPLY(0, 4, 6);
      TILE_MULTIPLY(1, 4, 7);
    }
    TILE_STORE(0, y + o * kBlock, kBlock * 4);
    TILE_STORE(1, y + o * kBlock + 16, kBlock * 4);
  }
}

// Pairs of rows of y + bias, rectified or not, as bf16; missing rows up to PAD are zero.
template <int ROWS, bool RELU, int PAD = ROWS>
static inline void pack_pairs(const float* y, const float* bias, uint32_t* out) {
  const vf zero{};
  for (int r = 0; r < ROWS; r += 2)
    for (int i = 0; i < kBlock; i += L) {
      vf a = load<vf>(y + r * kBlock + i), b = load<vf>(y + (r + 1) * kBlock + i);
      if (bias) a += bias[r], b += bias[r + 1];
      if (RELU) a = vmax(a, zero), b = vmax(b, zero);
      store(out + r / 2 * kBlock + i, pack_bf16(a, b));
    }
  for (int r = ROWS; r < PAD; r += 2)
    for (int i = 0; i < kBlock; i += L) store(out + r / 2 * kBlock + i, vu{});
}

template <int ROWS> static inline void add_bias(const float* bias, float* y) {
  for (int r = 0; r < ROWS; r++)
    for (int i = 0; i < kBlock; i += L) store(y + r * kBlock + i, load<vf>(y + r * kBlock + i) + bias[r]);
}

// Rows of 32 floats as bf16, and their sums.
template <int ROWS> static inline void pack_rows(const float* d, bf16* out, float* row_sums) {
  for (int r = 0; r < ROWS; r++) {
    const vf a = load<vf>(d + r * kBlock), b = load<vf>(d + r * kBlock + L);
    _mm256_storeu_si256((__m256i*)(out + r * kBlock), _mm512_cvtepi32_epi16((__m512i)(((vu)a + 0x8000u) >> 16)));
    _mm256_storeu_si256((__m256i*)(out + r * kBlock + L), _mm512_cvtepi32_epi16((__m512i)(((vu)b + 0x8000u) >> 16)));
    row_sums[r] += sum_lanes(a + b);
  }
}

// Pairs of features [16][32 samples] (32 features) -> two tiles of sample pairs [16][16 features].
static inline void pair_samples(const uint32_t* x, uint32_t* low, uint32_t* high) {
  alignas(64) static const uint16_t take_low[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i first = _mm512_load_si512(take_low), second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  alignas(64) uint32_t t[16 * 16];
  for (int half = 0; half < 2; half++) {
    transpose16((const float*)x + 16 * half, kBlock, (float*)t, 16);
    for (int r = 0; r < 8; r++) {
      const __m512i a = _mm512_load_si512(t + 32 * r), b = _mm512_load_si512(t + 32 * r + 16);
      _mm512_store_si512(low + (8 * half + r) * 16, _mm512_permutex2var_epi16(a, first, b));
      _mm512_store_si512(high + (8 * half + r) * 16, _mm512_permutex2var_epi16(a, second, b));
    }
  }
}

// grad [OUT][IN] += rows [OUT][32 samples] x [32 samples][IN], x as pairs of features.
template <int IN, int OUT>
static inline void add_outer(const bf16* rows, const uint32_t* x, float* grad, MlpScratch& s) {
  for (int k = 0; k < IN; k += 32)
    pair_samples(x + k / 2 * kBlock, s.by_sample[k / 16], s.by_sample[k / 16 + 1]);
  stores_done();
  for (int o = 0; o < OUT; o += 16) {
    TILE_LOAD(4, rows + o * kBlock, kBlock * 2);
    for (int k = 0; k < IN; k += 32) {
      float* at = grad + o * IN + k;
      TILE_LOAD(0, at, IN * 4);
      TILE_LOAD(1, at + 16, IN * 4);
      TILE_LOAD(6, s.by_sample[k / 16], 64);
      TILE_LOAD(7, s.by_sample[k / 16 + 1], 64);
      TILE_MULTIPLY(0, 4, 6);
      TILE_MULTIPLY(1, 4, 7);
      TILE_STORE(0, at, IN * 4);
      TILE_STORE(1, at + 16, IN * 4);
    }
  }
}

// Zero the gradient where the rectifier was shut; h as pairs.
template <int N> static inline void mask_relu(const uint32_t* h, float* d) {
  const vf zero{};
  for (int r = 0; r < N; r += 2)
    for (int i = 0; i < kBlock; i += L) {
      const vu pair = load<vu>(h + r / 2 * kBlock + i);
      float *low = d + r * kBlock + i, *high = low + kBlock;
      store(low, (vi)(pair & 0xffffu) != 0 ? load<vf>(low) : zero);
      store(high, (vi)(pair >> 16) != 0 ? load<vf>(high) : zero);
    }
}

static inline void forward_block(const Mlp& mlp, const float* bias1, const float* encoded, float* geometry,
                                 Activations* keep) {
  alignas(64) float y[kHidden * kBlock];
  pack_pairs<kEncoded, false>(encoded, nullptr, keep->in);
  multiply<kEncoded, kHidden>(mlp.w1, keep->in, y);
  pack_pairs<kHidden, true>(y, bias1, keep->h1);
  multiply<kHidden, kHidden>(mlp.w2, keep->h1, y);
  pack_pairs<kHidden, true>(y, mlp.b2, keep->h2);
  multiply<kHidden, kGeometry>(mlp.w3, keep->h2, geometry);
  add_bias<kGeometry>(mlp.b3, geometry);
}

static inline void colour_layers(const Mlp& mlp, const float* in, float* hidden, float* out) {
  alignas(64) float y[kHidden * kBlock];
  alignas(64) uint32_t pairs[32 * kBlock];
  pack_pairs<32, false>(in, nullptr, pairs);
  multiply<32, kHidden>(mlp.c1, pairs, y);
  for (int r = 0; r < kHidden; r++)
    for (int i = 0; i < kBlock; i += L)
      store(hidden + r * kBlock + i, vmax(load<vf>(y + r * kBlock + i) + mlp.d1[r], vf{}));
  pack_pairs<kHidden, false>(hidden, nullptr, pairs);
  multiply<kHidden, kChannels>(mlp.c2, pairs, out);
  add_bias<kChannels>(mlp.d2, out);
}

// One output layer and the hidden layer before it: adds gradients, leaves the hidden one's in s.d.
template <int OUT>
static inline void back_through(const float* dy, const bf16* weight_t, const uint32_t* hidden, float* weight_grad,
                                float* bias_grad, MlpScratch& s) {
  pack_rows<OUT>(dy, s.rows, bias_grad);
  add_outer<kHidden, OUT>(s.rows, hidden, weight_grad, s);
  constexpr int padded = OUT < 32 ? 32 : OUT;
  pack_pairs<OUT, false, padded>(dy, nullptr, s.pairs);
  multiply<padded, kHidden>(weight_t, s.pairs, s.sums);
  mask_relu<kHidden>(hidden, s.sums);
  __builtin_memcpy(s.d, s.sums, sizeof s.d);
}

static inline void colour_backward(const Mlp& mlp, const float* in, const float* hidden, const float* d_out,
                                   Gradients& grad, float* d_in, MlpScratch& s) {
  pack_pairs<kHidden, false>(hidden, nullptr, s.hidden);
  back_through<kChannels>(d_out, mlp.c2t, s.hidden, grad.c2, grad.d2, s);
  pack_rows<kHidden>(s.d, s.rows, grad.d1);
  pack_pairs<32, false>(in, nullptr, s.in);
  add_outer<32, kHidden>(s.rows, s.in, grad.c1, s);
  pack_pairs<kHidden, false>(s.d, nullptr, s.pairs);
  multiply<kHidden, 32>(mlp.c1t, s.pairs, d_in);
}

static inline void backward_block(const Mlp& mlp, const Activations& kept, const float* dy, Gradients& grad,
                                  float* bias1_grad, float* d_encoded, MlpScratch& s) {
  back_through<kGeometry>(dy, mlp.w3t, kept.h2, grad.w3, grad.b3, s);
  back_through<kHidden>(s.d, mlp.w2t, kept.h1, grad.w2, grad.b2, s);
  pack_rows<kHidden>(s.d, s.rows, bias1_grad);
  add_outer<kEncoded, kHidden>(s.rows, kept.in, grad.w1, s);
  if (!d_encoded) return;
  pack_pairs<kHidden, false>(s.d, nullptr, s.pairs);
  multiply<kHidden, kEncoded>(mlp.w1t, s.pairs, d_encoded);
}

// Does this CPU compute a known block rightly? Run in a child process before the kernels are trusted.
static bool probe() {
  static float weights[kHidden * kHidden], zeros[kHidden];
  for (int i = 0; i < kHidden * kHidden; i++) weights[i] = (float)(i % 7 - 3) / 16.0f;
  Field field{};
  field.w1 = field.w2 = field.w3 = weights;
  field.w1_stride = kEncoded;
  field.b2 = field.b3 = zeros;
  static Mlp mlp;
  static Activations kept;
  mlp.prepare(field);
  alignas(64) float x[kEncoded * kBlock], y[kGeometry * kBlock];
  for (int i = 0; i < kEncoded * kBlock; i++) x[i] = (float)(i % 11 - 5) / 8.0f;
  begin_thread();
  forward_block(mlp, zeros, x, y, &kept);
  end_thread();
  for (int n = 0; n < kBlock; n++) {
    float a[kHidden], b[kHidden];
    for (int o = 0; o < kHidden; o++) {
      a[o] = 0.0f;
      for (int k = 0; k < kEncoded; k++) a[o] += weights[o * kEncoded + k] * x[k * kBlock + n];
    }
    for (int o = 0; o < kHidden; o++) {
      b[o] = 0.0f;
      for (int k = 0; k < kHidden; k++) b[o] += weights[o * kHidden + k] * (a[k] > 0.0f ? a[k] : 0.0f);
    }
    for (int o = 0; o < kGeometry; o++) {
      float sum = 0.0f, size = 0.1f;
      for (int k = 0; k < kHidden; k++) {
        const float term = weights[o * kHidden + k] * (b[k] > 0.0f ? b[k] : 0.0f);
        sum += term;
        size += term > 0.0f ? term : -term;
      }
      const float error = sum - y[o * kBlock + n];
      if (!((error > 0.0f ? error : -error) < 0.03f * size)) return false;
    }
  }
  return true;
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
