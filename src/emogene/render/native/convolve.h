// 3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3): a quarter of the multiplications of the
// direct form (Lavin and Gray 2016). Pictures are channels-last with a border of one zero pixel.
#pragma once
#include "kernels.h"
#include "simd.h"

namespace emogene {
namespace EG_NAMESPACE {

constexpr int kPatch = 6, kPositions = kPatch * kPatch;
constexpr int kBatch = 16;          // patches per pass over the weights
constexpr int kSkew = 16;           // keeps the 36 positions of a patch out of one cache set

#ifdef EG_HALF_CONV
// Half-precision products: twice the rate of single ones. Transforms and sums over positions stay single.
typedef _Float16 Product;
typedef uint32_t Factor;            // an input twice, so that one 32-bit broadcast fills a vector
constexpr int kGemmRows = 8;
constexpr float kInputScale = 1.0f / 64, kWeightScale = 64.0f;  // both in the middle of half's range
#else
typedef float Product, Factor;
constexpr int kGemmRows = 4;
constexpr float kInputScale = 1.0f, kWeightScale = 1.0f;
#endif

struct alignas(64) ConvScratch {
  Factor input[kPositions * (kBatch * kMostInputs + kSkew)];
  Product output[kPositions * (kBatch * kMostOutputs + 2 * kSkew)];
};

// Outputs of a layer as the products keep them: whole vectors.
static inline int product_width(int outputs) { return (int)(sizeof(Product) == 2 ? (outputs + 31) / 32 * 32 : outputs); }
static inline int product_step(int outputs) { return kBatch * product_width(outputs) + 2 * kSkew; }

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

static inline void keep_factor(float* at, vf v) { store(at, v); }
#ifdef EG_HALF_CONV
static inline void keep_factor(uint32_t* at, vf v) {
  alignas(64) static const uint16_t twice[32] = {0, 0, 1, 1, 2,  2,  3,  3,  4,  4,  5,  5,  6,  6,  7,  7,
                                                 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15};
  const __m256i half = _mm512_cvtps_ph((__m512)(v * kInputScale), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  _mm512_store_si512(at, _mm512_permutexvar_epi16(_mm512_load_si512(twice), _mm512_castsi256_si512(half)));
}
static inline vf load_product(const _Float16* p) { return (vf)_mm512_cvtph_ps(_mm256_load_si256((const __m256i*)p)); }
#endif
static inline vf load_product(const float* p) { return load<vf>(p); }

// A batch of patches, transformed: [36][kBatch][inputs].
static inline void transform_patches(const Convolution& conv, const int64_t* corner, int count, int inputs,
                                     Factor* out) {
  int offset = 0;
  for (int source = 0; source < 2; source++) {
    const int stride = (int)conv.stride[source], used = (int)conv.used[source];
    for (int c = 0; c < used; c += L)
      for (int p = 0; p < count; p++) {
        const float* at = conv.in[source] + corner[p] * stride + c;
        vf d[kPositions], t[kPositions], v[kPositions];
        for (int y = 0; y < kPatch; y++)
          for (int x = 0; x < kPatch; x++) d[y * kPatch + x] = load<vf>(at + (y * conv.row_pixels + x) * stride);
        for (int x = 0; x < kPatch; x++) input_transform(d + x, kPatch, t + x, kPatch);
        for (int y = 0; y < kPatch; y++) input_transform(t + y * kPatch, 1, v + y * kPatch, 1);
        for (int k = 0; k < kPositions; k++)
          keep_factor(out + k * (kBatch * inputs + kSkew) + p * inputs + offset + c, v[k]);
      }
    offset += (used + 15) / 16 * 16;
  }
}

#ifdef EG_HALF_CONV
constexpr int kStrip = 3;                                // vectors of outputs at a time
constexpr int kProductLanes = 32;
typedef __m512h vp;
static inline vp spread_factor(uint32_t x) { return (__m512h)_mm512_set1_epi32((int)x); }
static inline vp load_weight(const _Float16* p) { return _mm512_loadu_ph(p); }
static inline vp multiply_add(vp a, vp b, vp c) { return _mm512_fmadd_ph(a, b, c); }
static inline void keep_product(_Float16* p, vp v) { _mm512_storeu_ph(p, v); }
#else
constexpr int kStrip = EG_LANES == 16 ? 4 : 2;           // as many sums as registers hold
constexpr int kProductLanes = L;
typedef vf vp;
static inline vp spread_factor(float x) { return splat(x); }
static inline vp load_weight(const float* p) { return load<vf>(p); }
static inline vp multiply_add(vp a, vp b, vp c) { return a * b + c; }
static inline void keep_product(float* p, vp v) { store(p, v); }
#endif

// V vectors of outputs of one position for `count` patches: output = input [..][used of inputs]
// weight [inputs][outputs].
template <int V, int ROWS>
static inline void multiply_strip(const Factor* input, int inputs, int used, const Product* weight, int outputs,
                                  int count, Product* output) {
  for (int p = 0; p < count; p += ROWS) {
    vp sum[ROWS][V];
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < V; v++) sum[i][v] = vp{};
    for (int k = 0; k < used; k++) {
      vp w[V];
      for (int v = 0; v < V; v++) w[v] = load_weight(weight + k * outputs + v * kProductLanes);
      for (int i = 0; i < ROWS; i++) {
        const vp x = spread_factor(input[(p + i) * inputs + k]);
        for (int v = 0; v < V; v++) sum[i][v] = multiply_add(x, w[v], sum[i][v]);
      }
    }
    for (int i = 0; i < ROWS; i++)
      for (int v = 0; v < V; v++) keep_product(output + (p + i) * outputs + v * kProductLanes, sum[i][v]);
  }
}

static inline void multiply_patches(const Factor* input, int inputs, int used, const Product* weight, int outputs,
                                    int count, Product* output) {
  constexpr int G = kGemmRows, N = kProductLanes;
  int o = 0;
  for (; o + kStrip * N <= outputs; o += kStrip * N)
    multiply_strip<kStrip, G>(input, inputs, used, weight + o, outputs, count, output + o);
  if (kStrip > 3 && o + 3 * N <= outputs)
    multiply_strip<3, G>(input, inputs, used, weight + o, outputs, count, output + o), o += 3 * N;
  if (o + 2 * N <= outputs) multiply_strip<2, G>(input, inputs, used, weight + o, outputs, count, output + o), o += 2 * N;
  if (o + N <= outputs) multiply_strip<1, G>(input, inputs, used, weight + o, outputs, count, output + o);
}

static inline void finish_patch(const Convolution& conv, int64_t row, int64_t col, const Product* products) {
  const int outputs = (int)conv.outputs, step = product_step(outputs);
  for (int c = 0; c < outputs; c += L) {
    vf m[kPositions], t[kPatch * kCell], y[kCell * kCell];
    for (int k = 0; k < kPositions; k++) m[k] = load_product(products + k * step + c);
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
  const int used = (int)(conv->used[1] ? (conv->used[0] + 15) / 16 * 16 + conv->used[1] : conv->used[0]);
  const int outputs = product_width((int)conv->outputs), step = product_step(outputs);
  const int64_t cols = (conv->width + kCell - 1) / kCell, rows = (conv->height + kCell - 1) / kCell;
  const int64_t cells = conv->n_cells >= 0 ? conv->n_cells : rows * cols;
  const int64_t last = cells * (thread + 1) / threads;
  for (int64_t first = cells * thread / threads; first < last; first += kBatch) {
    const int count = (int)(last - first < kBatch ? last - first : kBatch);
    const int padded = (count + kGemmRows - 1) / kGemmRows * kGemmRows;
    int64_t row[kBatch], col[kBatch], corner[kBatch];
    for (int p = 0; p < count; p++) {
      const int64_t cell = conv->n_cells >= 0 ? conv->cells[first + p] : first + p;
      row[p] = cell / cols, col[p] = cell % cols;
      corner[p] = kCell * row[p] * conv->row_pixels + kCell * col[p];
    }
    transform_patches(*conv, corner, count, inputs, s.input);
    for (int k = 0; k < kPositions; k++) {
      Factor* input = s.input + k * (kBatch * inputs + kSkew);
      for (int i = count * inputs; i < padded * inputs; i++) input[i] = 0;
      multiply_patches(input, inputs, used, (const Product*)conv->weight + (int64_t)k * inputs * outputs, outputs, padded,
                       s.output + k * step);
    }
    for (int p = 0; p < count; p++) finish_patch(*conv, row[p], col[p], s.output + p * outputs);
  }
}

// Transformed weights [36][inputs][outputs] as the products want them; never more bytes than they come in.
static void pack_weights(const float* weight, int64_t inputs, int64_t outputs, void* out) {
  const int64_t wide = product_width((int)outputs);
  Product* to = (Product*)out;
  for (int64_t k = 0; k < kPositions * inputs; k++)
    for (int64_t o = 0; o < wide; o++)
      to[k * wide + o] = o < outputs ? (Product)(weight[k * outputs + o] * kWeightScale) : (Product)0;
}

}  // namespace EG_NAMESPACE
}  // namespace emogene
