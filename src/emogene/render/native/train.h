// The fused training step of one thread; see NativeTrainer.
#pragma once
#include "colour.h"
#include "workers.h"

namespace emogene {
namespace EG_NAMESPACE {

struct alignas(64) TrainScratch {
  Scratch base;
  ColourScratch colour;
};

static void train(const Field*, const Rays*, Loss*, Gradients*, ScatterBuffer*, void*, int, int) {}

}  // namespace EG_NAMESPACE
}  // namespace emogene
