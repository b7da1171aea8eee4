// One dense layer in fp32 over a block of 32 columns (samples or pixels), one row of 32 floats per feature.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kRowVectors = EG_LANES == 4 ? 4 : 2;      // vectors of samples per register tile
constexpr int kTileOutputs = EG_LANES == 16 ? 8 : (EG_LANES == 8 ? 4 : 2);

// y[o][n] = (relu) bias[o] + sum_k weight[k * OUT + o] x[k][n] over 32 samples n.
template <int K, int OUT, bool RELU>
static inline void layer(const float* weight, const float* bias, const float* x, float* y) {
  constexpr int T = kTileOutputs, V = kRowVectors;
  for (int n = 0; n < kBlock; n += V * L)
    for (int o = 0; o < OUT; o += T) {
      vf sum[T][V];
      for (int i = 0; i < T; i++)
        for (int v = 0; v < V; v++) sum[i][v] = splat(bias ? bias[o + i] : 0.0f);
      for (int k = 0; k < K; k++) {
        vf in[V];
        for (int v = 0; v < V; v++) in[v] = load<vf>(x + k * kBlock + n + v * L);
        for (int i = 0; i < T; i++) {
          const vf w = splat(weight[k * OUT + o + i]);
          for (int v = 0; v < V; v++) sum[i][v] += w * in[v];
        }
      }
      for (int i = 0; i < T; i++)
        for (int v = 0; v < V; v++)
          store(y + (o + i) * kBlock + n + v * L, RELU ? vmax(sum[i][v], vf{}) : sum[i][v]);
    }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
