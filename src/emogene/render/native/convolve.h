// 3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications of the
// direct form (Lavin and Gray 2016). Pictures are channels-last with a border of one zero pixel.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kPatch = 6, kCell = 4, kPositions = kPatch * kPatch;
constexpr int kBatch = 16;          // patches per pass over the weights
constexpr int kGemmRows = 4;
constexpr int kSkew = 16;           // keeps the 36 positions of a patch out of one cache set

struct alignas(64) ConvScratch {
  float input[kPositions * (kBatch * kMostInputs + kSkew)];
  float output[kPositions * (kBatch * kMostOutputs + kSkew)];
};

static inline void input_transform(const vf* d, int step, vf* t, int t_step) {
  const vf a = d[4 * step] - 4.0f * d[2 * step], b = d[3 * step] - 4.0f * d[step];
  const vf c = d[4 * step] - d[2 * step], e = 2.0f * (d[3 * step] - d[step]);
  t[0] = 4.0f * d[0] - 5.0f * d[2 * step] + d[4 * step];
  t[t_step] = a + b;
  t[2 * t_step] = a - b;
  t[3 * t_step] = c + e;
  t[4 * t_step] = c - e;
  t[5 * t_step] = 4.0f * d[step] - 5.0f * d[3 * step] + d[5 * step];
}

static inline void output_transform(const vf* m, int step, vf* y, int y_step) {
  const vf s1 = m[step] + m[2 * step], d1 = m[step] - m[2 * step];
  const vf s2 = m[3 * step] + m[4 * step], d2 = m[3 * step] - m[4 * step];
  y[0] = m[0] + s1 + s2;
  y[y_step] = d1 + 2.0f * d2;
  y[2 * y_step] = s1 + 4.0f * s2;
  y[3 * y_step] = d1 + 8.0f * d2 + m[5 * step];
}

// Patches of one row of cells from column `first` on, transformed: [36][kBatch][inputs].
static inline void transform_patches(const Convolution& conv, int64_t row, int64_t first, int count, int inputs,
                                     float* out) {
  int offset = 0;
  for (int source = 0; source < 2; source++) {
    const int stride = (int)conv.stride[source], used = (int)conv.used[source];
    for (int c = 0; c < used; c += L)
      for (int p = 0; p < count; p++) {
        const float* at = conv.in[source] + (kCell * row * conv.row_pixels + kCell * (first + p)) * stride + c;
        vf d[kPositions], t[kPositions], v[kPositions];
        for (int y = 0; y < kPatch; y++)
          for (int x = 0; x < kPatch; x++) d[y * kPatch + x] = load<vf>(at + (y * conv.row_pixels + x) * stride);
        for (int x = 0; x < kPatch; x++) input_transform(d + x, kPatch, t + x, kPatch);
        for (int y = 0; y < kPatch; y++) input_transform(t + y * kPatch, 1, v + y * kPatch, 1);
        for (int k = 0; k < kPositions; k++) store(out + k * (kBatch * inputs + kSkew) + p * inputs + offset + c, v[k]);
      }
    offset += (used + 15) / 16 * 16;
  }
}

// V vectors of outputs of one position for `count` patches: output = input [..][inputs] weight [inputs][outputs].
template <int V>
static inline void multiply_strip(const float* input, int inputs, const float* weight, int outputs, int count,
                                  float* output) {
  for (int p = 0; p < count; p += kGemmRows) {
    vf sum[kGemmRows][V];
    for (int i = 0; i < kGemmRows; i++)
      for (int v = 0; v < V; v++) sum[i][v] = vf{};
    for (int k = 0; k < inputs; k++) {
      vf w[V];
      for (int v = 0; v < V; v++) w[v] = load<vf>(weight + k * outputs + v * L);
      for (int i = 0; i < kGemmRows; i++) {
        const vf x = splat(input[(p + i) * inputs + k]);
        for (int v = 0; v < V; v++) sum[i][v] += x * w[v];
      }
    }
    for (int i = 0; i < kGemmRows; i++)
      for (int v = 0; v < V; v++) store(output + (p + i) * outputs + v * L, sum[i][v]);
  }
}

static inline void multiply_patches(const float* input, int inputs, const float* weight, int outputs, int count,
                                    float* output) {
  constexpr int kWide = EG_LANES == 16 ? 4 : 2;  // as many sums as registers hold
  int o = 0;
  for (; o + kWide * L <= outputs; o += kWide * L)
    multiply_strip<kWide>(input, inputs, weight + o, outputs, count, output + o);
  if (o + 3 * L <= outputs) multiply_strip<3>(input, inputs, weight + o, outputs, count, output + o), o += 3 * L;
  if (o + 2 * L <= outputs) multiply_strip<2>(input, inputs, weight + o, outputs, count, output + o), o += 2 * L;
  if (o + L <= outputs) multiply_strip<1>(input, inputs, weight + o, outputs, count, output + o);
}

static inline void finish_patch(const Convolution& conv, int64_t row, int64_t col, const float* products) {
  const int outputs = (int)conv.outputs;
  for (int c = 0; c < outputs; c += L) {
    vf m[kPositions], t[kPatch * kCell], y[kCell * kCell];
    for (int k = 0; k < kPositions; k++) m[k] = load<vf>(products + k * (kBatch * outputs + kSkew) + c);
    for (int x = 0; x < kPatch; x++) output_transform(m + x, kPatch, t + x, kPatch);
    for (int r = 0; r < kCell; r++) output_transform(t + r * kPatch, 1, y + r * kCell, 1);
    const vf bias = load<vf>(conv.bias + c);
    for (int r = 0; r < kCell && kCell * row + r < conv.height; r++)
      for (int x = 0; x < kCell && kCell * col + x < conv.width; x++) {
        const int64_t pixel = (kCell * row + r + 1) * conv.row_pixels + kCell * col + x + 1;
        vf value = y[r * kCell + x] + bias;
        if (conv.hidden) value = vmax(value, 0.1f * value);
        if (conv.residual) value += load<vf>(conv.in[0] + pixel * conv.stride[0] + c);
        store(conv.out + pixel * outputs + c, value);
      }
  }
}

static void convolve(const Convolution* conv, void* scratch, int thread, int threads) {
  ConvScratch& s = *(ConvScratch*)scratch;
  const int inputs = (int)((conv->used[0] + 15) / 16 * 16 + (conv->used[1] + 15) / 16 * 16);
  const int outputs = (int)conv->outputs;
  const int64_t rows = (conv->height + kCell - 1) / kCell, cols = (conv->width + kCell - 1) / kCell;
  for (int64_t row = thread; row < rows; row += threads)
    for (int64_t first = 0; first < cols; first += kBatch) {
      const int count = (int)(cols - first < kBatch ? cols - first : kBatch);
      const int padded = (count + kGemmRows - 1) / kGemmRows * kGemmRows;
      transform_patches(*conv, row, first, count, inputs, s.input);
      for (int k = 0; k < kPositions; k++) {
        float* input = s.input + k * (kBatch * inputs + kSkew);
        for (int i = count * inputs; i < padded * inputs; i++) input[i] = 0.0f;
        multiply_patches(input, inputs, conv->weight + k * inputs * outputs, outputs, padded,
                         s.output + k * (kBatch * outputs + kSkew));
      }
      for (int p = 0; p < count; p++) finish_patch(*conv, row, first + p, s.output + p * outputs);
    }
}

// Decoded pixels [h][w][4 planes][4 x 4] -> uint8 rgb over a background, or rgba with straight alpha.
static void paint(const Picture* picture, int thread, int threads) {
  const float low = picture->clear, scale = 1.0f / (1.0f - 2.0f * low);
  const int depth = picture->background ? 3 : 4;
  for (int64_t y = thread; y < picture->height; y += threads)
    for (int64_t x = 0; x < picture->width; x++) {
      const float* at = picture->decoded + ((y + 1) * picture->row_pixels + x + 1) * kDecoded;
      alignas(64) float colour[4][16];
      for (int i = 0; i < 16; i += L) {
        vf alpha = (load<vf>(at + 48 + i) - low) * scale;
        alpha = vmin(vmax(alpha, vf{}), splat(1.0f));
        for (int k = 0; k < 3; k++) store(colour[k] + i, vmin(load<vf>(at + 16 * k + i), alpha));
        store(colour[3] + i, alpha);
      }
      for (int i = 0; i < 16; i++) {
        const int64_t pixel = (4 * (y + picture->top) + i / 4) * picture->out_width + 4 * (x + picture->left) + i % 4;
        const float alpha = colour[3][i];
        uint8_t* out = picture->out + pixel * depth;
        for (int k = 0; k < 3; k++) {
          const float shade = picture->background
                                  ? colour[k][i] * 255.0f + (1.0f - alpha) * picture->background[pixel * 3 + k]
                                  : colour[k][i] * 255.0f / (alpha > 1.0f / 64 ? alpha : 1.0f / 64);
          out[k] = (uint8_t)(shade + 0.5f > 0.0f ? (shade + 0.5f < 255.0f ? shade + 0.5f : 255.0f) : 0.0f);
        }
        if (depth == 4) out[3] = (uint8_t)(alpha * 255.0f + 0.5f);
      }
    }
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
