// The per-sample network in fp32: blocks of 32 samples, one row of 32 floats per feature.
#pragma once
#include "layer.h"

namespace emogene {
namespace EG_NAMESPACE {

// grad[o][k] += sum_n dy[o][n] xt[n][k]: weight gradients from sample-major inputs.
template <int K, int OUT> static inline void add_outer(const float* dy, const float* xt, float* grad) {
  constexpr int T = kTileOutputs, V = kRowVectors < K / L ? kRowVectors : K / L;
  for (int o = 0; o < OUT; o += T)
    for (int k = 0; k < K; k += V * L) {
      vf sum[T][V];
      for (int i = 0; i < T; i++)
        for (int v = 0; v < V; v++) sum[i][v] = load<vf>(grad + (o + i) * K + k + v * L);
      for (int n = 0; n < kBlock; n++) {
        vf in[V];
        for (int v = 0; v < V; v++) in[v] = load<vf>(xt + n * K + k + v * L);
        for (int i = 0; i < T; i++) {
          const vf d = splat(dy[(o + i) * kBlock + n]);
          for (int v = 0; v < V; v++) sum[i][v] += d * in[v];
        }
      }
      for (int i = 0; i < T; i++)
        for (int v = 0; v < V; v++) store(grad + (o + i) * K + k + v * L, sum[i][v]);
    }
}

template <int OUT> static inline void add_row_sums(const float* dy, float* grad) {
  for (int o = 0; o < OUT; o++) {
    vf sum{};
    for (int n = 0; n < kBlock; n += L) sum += load<vf>(dy + o * kBlock + n);
    grad[o] += sum_lanes(sum);
  }
}

// Zero the gradient where the rectifier was shut.
template <int N> static inline void mask_relu(const float* h, float* d) {
  for (int i = 0; i < N * kBlock; i += L) {
    const vf zero{};
    store(d + i, load<vf>(h + i) > 0.0f ? load<vf>(d + i) : zero);
  }
}

// Two or three dense layers in both layouts; made once per call from torch's weights.
struct alignas(64) Mlp {
  float w1[kHidden * kEncoded], w2[kHidden * kHidden], w3[kGeometry * kHidden];     // [out][in]
  float w1t[kHidden * kEncoded], w2t[kHidden * kHidden], w3t[kGeometry * kHidden];  // [in][out]
  float b2[kHidden], b3[kGeometry];
  float c1[kHidden * 32], c2[kChannels * kHidden], c1t[kHidden * 32], c2t[kChannels * kHidden];
  float d1[kHidden], d2[kChannels];

  static void copy(const float* src, int64_t stride, int rows, int cols, float* natural, float* swapped) {
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < cols; c++) {
        natural[r * cols + c] = src[r * stride + c];
        swapped[c * rows + r] = src[r * stride + c];
      }
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

// What a block's backward needs of its forward.
struct alignas(64) Activations {
  float in[kEncoded * kBlock], h1[kHidden * kBlock], h2[kHidden * kBlock];
};

static inline void append_columns(const Activations& from, uint32_t bits, Activations& to, int at) {
  append_columns((const uint32_t*)&from, (int)(sizeof from / (4 * kBlock)), bits, (uint32_t*)&to, at);
}

struct alignas(64) MlpScratch {
  float hidden[2][kHidden * kBlock];
  float d1[kHidden * kBlock], d2[kHidden * kBlock], t[kHidden * kBlock];
};

// encoded [32][32 samples] (kept.in, when that is kept) -> geometry [16][32 samples].
static inline void forward_block(const Mlp& mlp, const float* bias1, const float* encoded, float* geometry,
                                 Activations* keep) {
  layer<kEncoded, kHidden, true>(mlp.w1t, bias1, encoded, keep->h1);
  layer<kHidden, kHidden, true>(mlp.w2t, mlp.b2, keep->h1, keep->h2);
  layer<kHidden, kGeometry, false>(mlp.w3t, mlp.b3, keep->h2, geometry);
}

// colour input [32][32 rays] -> 16 raw outputs [16][32 rays].
static inline void colour_layers(const Mlp& mlp, const float* in, float* hidden, float* out) {
  layer<32, kHidden, true>(mlp.c1t, mlp.d1, in, hidden);
  layer<kHidden, kChannels, false>(mlp.c2t, mlp.d2, hidden, out);
}

// Gradient of the raw colour outputs -> gradient of the colour input [32][32 rays]; adds weight gradients.
static inline void colour_backward(const Mlp& mlp, const float* in, const float* hidden, const float* d_out,
                                   Gradients& grad, float* d_in, MlpScratch& s) {
  add_row_sums<kChannels>(d_out, grad.d2);
  transpose<kHidden, kBlock>(hidden, s.t);
  add_outer<kHidden, kChannels>(d_out, s.t, grad.c2);
  layer<kChannels, kHidden, false>(mlp.c2, nullptr, d_out, s.d2);
  mask_relu<kHidden>(hidden, s.d2);
  add_row_sums<kHidden>(s.d2, grad.d1);
  transpose<32, kBlock>(in, s.t);
  add_outer<32, kHidden>(s.d2, s.t, grad.c1);
  layer<kHidden, 32, false>(mlp.c1, nullptr, s.d2, d_in);
}

// Gradient of geometry -> gradient of encoded (unless null); adds weight and bias gradients. kept.in is the input.
static inline void backward_block(const Mlp& mlp, const Activations& kept, const float* dy, Gradients& grad,
                                  float* bias1_grad, float* d_encoded, MlpScratch& s) {
  add_row_sums<kGeometry>(dy, grad.b3);
  transpose<kHidden, kBlock>(kept.h2, s.t);
  add_outer<kHidden, kGeometry>(dy, s.t, grad.w3);
  layer<kGeometry, kHidden, false>(mlp.w3, nullptr, dy, s.d2);
  mask_relu<kHidden>(kept.h2, s.d2);
  add_row_sums<kHidden>(s.d2, grad.b2);
  transpose<kHidden, kBlock>(kept.h1, s.t);
  add_outer<kHidden, kHidden>(s.d2, s.t, grad.w2);
  layer<kHidden, kHidden, false>(mlp.w2, nullptr, s.d2, s.d1);
  mask_relu<kHidden>(kept.h1, s.d1);
  add_row_sums<kHidden>(s.d1, bias1_grad);
  transpose<kEncoded, kBlock>(kept.in, s.t);
  add_outer<kEncoded, kHidden>(s.d1, s.t, grad.w1);
  if (d_encoded) layer<kHidden, kEncoded, false>(mlp.w1, nullptr, s.d1, d_encoded);
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
