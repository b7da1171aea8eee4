// Fills one Kernels table from the code compiled under EG_NAMESPACE and EG_LANES.
#pragma once
#include "compose.h"
#include "convolve.h"
#include "detail.h"
#include "image.h"
#include "paint.h"
#include "train.h"

namespace emogene {
namespace EG_NAMESPACE {

static void encode_entry(const Field* field, const float* points, int64_t count, float* out) {
  encode_points(field, points, count, out);
}
#ifndef EG_TILE_STATE
static void begin_thread() {}
static void end_thread() {}
#endif

}  // namespace EG_NAMESPACE
}  // namespace emogene

namespace emogene {
namespace EG_NAMESPACE {
constexpr size_t larger(size_t a, size_t b) { return a > b ? a : b; }
constexpr size_t kScratchBytes =
    larger(larger(sizeof(TileScratch), sizeof(TrainScratch)), larger(sizeof(ConvScratch), sizeof(ComposeScratch)));
}  // namespace EG_NAMESPACE
}  // namespace emogene

#define EG_KERNELS                                                                                   \
  {                                                                                                  \
    EG_NAMESPACE::kScratchBytes, EG_NAMESPACE::Bundle::kSampleBytes, EG_NAMESPACE::begin_thread,     \
        EG_NAMESPACE::end_thread, EG_NAMESPACE::encode_entry, EG_NAMESPACE::ray_sums,                \
        EG_NAMESPACE::ray_sums_backward, EG_NAMESPACE::train, EG_NAMESPACE::scatter_level,           \
        EG_NAMESPACE::make_mask, EG_NAMESPACE::render_image, EG_NAMESPACE::densities,                \
        EG_NAMESPACE::compose, EG_NAMESPACE::convolve, EG_NAMESPACE::pack_weights,                   \
        EG_NAMESPACE::enlarge, EG_NAMESPACE::paint, EG_NAMESPACE::adam                               \
  }
