// Plain structures that cross the C boundary, and the table of entry points each instruction set fills.
// The torch code in field.py, grid.py, march.py and volume.py specifies every number computed here.
#pragma once
#include <cstddef>
#include <cstdint>

namespace emogene {

constexpr int kLevels = 16;         // hash-grid levels, two features each
constexpr int kEncoded = 32;        // features into the first layer
constexpr int kHidden = 64;
constexpr int kGeometry = 16;       // log density + 15 blended features
constexpr int kSums = 18;           // opacity, 15 features, s, s^2
constexpr int kChannels = 16;       // colour outputs per ray
constexpr int kBlock = 32;          // samples per MLP block
constexpr int kChunk = 1024;        // samples per pass through the levels
constexpr int kItemRays = 128;      // rays per unit of work
constexpr int kRound = 4;           // samples per ray and round
constexpr int kCoarse = 32;         // cells per axis of the observed-space mask
constexpr int64_t kScatterRoom = 1 << 17;  // samples whose feature gradients one thread buffers

constexpr float kLeastStep = 1.0f / 401.0f;  // between samples, in cube lengths

struct Level {
  float resolution;
  int32_t dense;
  uint32_t side;    // resolution + 1
  uint32_t mask;    // rows - 1 of a hashed level
  int64_t offset;   // first row
};

// Weights in torch layout, rows are outputs. w1 rows are w1_stride floats apart (the code columns follow).
struct Field {
  const uint32_t* table;  // two bf16 features per row
  const Level* levels;
  const float *w1, *w2, *w3, *b2, *b3;
  int64_t w1_stride;
  const float *c1, *d1, *c2, *d2;  // colour layers, used by whole-image and training kernels
  const uint8_t* cells;            // occupancy, x fastest
  int64_t cells_side;
};

struct Rays {
  const float *origins, *directions, *jitter;  // [R, 3], [R, 3], [R]
  const int64_t* frames;                       // [R]
  const int64_t* order;                        // [R] rays sorted by frame
  int64_t count;
  const int64_t* items;                        // [n_items + 1] bounds in order; one frame per item
  int64_t n_items;
  const float* bias;                           // [K, 64] first-layer bias per frame
  int64_t n_frames;
  const float* warps;                          // [K, S, S, S, 3] or null
  int64_t warp_side;
  float step;
  float stop;  // rays end where transmittance falls to it; samples of no more weight get no gradient
};

// Gradients, accumulated into. One copy per thread except table, which is shared (threads own levels).
struct Gradients {
  float *w1, *w2, *w3, *b2, *b3;  // w1 is [64, 32]
  float* bias;                    // [K, 64]
  float *c1, *d1, *c2, *d2;
};

struct Image {
  const float *origin, *directions;  // [3], [H * W, 3]
  int64_t height, width;
  const float* bias;   // [64]
  const float* warp;   // [S, S, S, 3] or null
  int64_t warp_side;
  float step, stop;
  const uint8_t* mask; // [32, 32, 32] observed-space mask
  float *channels, *opacity, *depth, *depth_sq;  // outputs
  int64_t* next_tile;  // shared counter
};

// Places and feature gradients of 32 samples.
struct ScatterBlock {
  float x[kBlock], y[kBlock], z[kBlock], features[kEncoded * kBlock];
};

// What one thread writes for the table's gradient before the level-parallel scatter.
struct ScatterBuffer {
  ScatterBlock* blocks;  // kScatterRoom samples; null when the table needs no gradient
  int64_t count;         // blocks filled
  int64_t next_item;     // where the thread continues after the scatter
};

struct Loss {
  const float *target, *background, *weight;  // [R, 3] rgb, [R, 3], [R]
  const float* target_opacity;                // [R] or null
  float opacity_weight, spread_weight, haze_weight;
  double total, colour, spread;               // out: means over rays; colour and spread are parts of total
  float* opacity_out;                         // [R] or null
};

constexpr int kMostInputs = 160, kMostOutputs = 128;  // channels of a convolution
constexpr int kCell = 4;      // edge of the pixels that one Winograd patch makes

// One 3 x 3 layer. Pictures: [4 ceil(h/4) + 2][row_pixels = 4 ceil(w/4) + 2][stride], border and excess zero.
struct Convolution {
  const float* in[2];       // two pictures read side by side, or one and null with used 0
  int64_t stride[2];        // floats per pixel, a multiple of 16
  int64_t used[2];          // channels read, rounded up to 16 (the rest of them zero)
  int64_t height, width, row_pixels;
  int64_t outputs;          // channels made, a multiple of 16
  const void* weight;       // what pack_weights made of [36][inputs][outputs] transformed
  const float* bias;        // [outputs]
  float* out;               // [outputs] floats per pixel
  int32_t hidden, residual; // leaky rectifier; add the first input
  const int32_t* cells;     // [n_cells] which 4 x 4 pixels to make, row * ceil(w/4) + column
  int64_t n_cells;          // negative: all
};

constexpr int kTexel = 8, kTorsoInputs = 4 * kTexel, kTorsoHidden = 48, kKnots = 12;  // sizes of torso.Torso
constexpr int kMostLow = 512;  // widest low-resolution picture

// One frame's head and torso, and the decoder's input that they become.
struct Composite {
  const float *channels, *opacity;        // [h * w, 16], [h * w] of the head
  int64_t height, width, top;             // no torso above row `top`
  const float* plane;                     // [side, side, 8]
  int64_t plane_side;
  float plane_scale, reach;               // picture to plane coordinates; largest displacement
  const float* knots;                     // [2, 12, 12] displacements before tanh
  const float* shoulders;                 // [6] affine map: identity's deviation row by row, shift
  const float *across_y, *across_x;       // [2 h, 12], [12, stride]: bicubic weights of every sample
  int64_t across_stride;                  // 2 w or more, a multiple of 16
  const float *enter, *shade;             // [48, 32], [48] with the pose's share
  const float *leave, *leave_bias;        // [17, 48], [17]
  float* out;                             // [.., row_pixels, stride], from one pixel inside on
  int64_t row_pixels, stride;
  float* place;                           // [h * w, 2] of low pixels on the plane, -1..1; null: not wanted
};

// Which cells of 4 x 4 low pixels are worth decoding.
struct Coverage {
  const float* composite;                 // as Composite.out
  int64_t height, width, row_pixels, stride;
  float faint;                            // both alphas together above it: somebody is there
  int32_t *made, *hidden, *ring;          // out, room for all cells each: near somebody; one more around
  int64_t n_made, n_hidden, n_ring;       //   for the hidden layers; those around that, which are read
};

constexpr int kMostLayers = 4;  // of detail

// The decoder's picture and gains, and the detail that goes over it. Pictures are bordered as in Convolution.
struct Enlargement {
  const float* decoded;                   // [..][row_pixels][channels]: [4 planes][2 x 2], then gains
  int64_t height, width, row_pixels, channels, layers;
  const int32_t* cells;                   // [n_cells] to make, as in Convolution
  int64_t n_cells;                        // negative: all
  const float *origin, *directions;       // [3], [h * w, 3] of the rays
  const float *opacity, *depth;           // [h * w] of the head
  const float* warp;                      // [S, S, S, 3]
  int64_t warp_side;
  const uint32_t* texture;                // [side, side, pairs]: 3 channels per layer, two bf16 each
  int64_t side;
  float thin;                             // opacity up to which a pixel shows no detail
  float *surface, *place;                 // room for [h * w, 3] and [h * w, 2]
  float* out;                             // [..][row_pixels][4 planes][4 x 4]
  const uint32_t* torso;                  // [torso_rows, torso_columns, 2]: the lower rows of a square; null: none
  int64_t torso_columns, torso_rows;
  const float* torso_place;               // as Composite.place
  const float* composite;                 // as Composite.out
  int64_t stride;                         // of it
};

enum PictureKind { kRgb, kRgba, kPlanes };

struct Picture {
  const float* decoded;          // [..][row_pixels][channels], with border; rgb and alpha first, 16 of each
  int64_t height, width, row_pixels, channels;
  const int32_t* cells;          // [n_cells] to paint, as in Convolution
  int64_t n_cells;          // negative: all
  int64_t top, left;             // place, in low pixels
  int64_t out_height, out_width; // of the result in pixels
  const uint8_t* background;     // [out_height / 4, out_width / 4, 3, 16]; not for rgba
  uint8_t* out;                  // [out_height, out_width, 3 or 4] or planes Y, U, V
  float clear;                   // alpha below it is clear, above one minus it solid
  int32_t kind;
};

struct Kernels {
  size_t scratch_bytes;
  size_t sample_bytes;  // more of it per sample of an item, for the three that take rays
  void (*begin)();  // per thread, on entry (tile state)
  void (*end)();    // per thread, on exit
  void (*encode)(const Field*, const float* points, int64_t count, float* out);
  void (*sums)(const Field*, const Rays*, float* sums, void* scratch, int thread, int threads);
  void (*sums_backward)(const Field*, const Rays*, const float* grad, Gradients*, ScatterBuffer*, void* scratch,
                        int thread, int threads);
  void (*train)(const Field*, const Rays*, Loss*, Gradients*, ScatterBuffer*, void* scratch, int thread,
                int threads);
  void (*scatter)(const Field*, const ScatterBuffer* buffers, int n_buffers, float* table_grad, int level);
  void (*mask)(const Field*, const uint8_t* wide_cells, const float* warp, int64_t warp_side, uint8_t* out);
  void (*image)(const Field*, const Image*, void* scratch, int thread, int threads);
  void (*densities)(const Field*, const float* bias, const float* points, int64_t count, float* out, void* scratch,
                    int thread, int threads);
  void (*compose)(const Composite*, void* scratch, int thread, int threads);
  void (*convolve)(const Convolution*, void* scratch, int thread, int threads);
  void (*pack_weights)(const float* weight, int64_t inputs, int64_t outputs, void* out);
  void (*enlarge)(const Enlargement*, int phase, int thread, int threads);
  void (*paint)(const Picture*, int thread, int threads);
  void (*adam)(float* value, float* mean, float* square, float* grad, uint16_t* packed, int64_t count,
               const float* settings);
};

// Most samples one item can hold, every round padded to whole blocks; must not exceed kScatterRoom.
inline int64_t item_bound(float step) {
  const int64_t per_ray = (int64_t)(1.7321f / step) + 2;
  return (kItemRays * per_ray + kBlock * (per_ray / kRound + 2)) / kBlock * kBlock;
}

extern const Kernels kPortable, kAvx2, kAvx512, kHalf, kAmx;
bool amx_probe();  // runs tile instructions: only in a process that may die

}  // namespace emogene
