// Runs every kernel of every instruction set the CPU has on small random data; built with sanitizers by a test.
// Buffers are sized exactly, so that any access beyond them is reported.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.h"

using namespace emogene;
extern "C" {
int eg_has_isa(int);
int64_t eg_gradient_floats(int64_t);
int eg_encode(int, const Field*, const float*, int64_t, float*);
int eg_sums(int, int, const Field*, Rays*, float*);
int eg_sums_backward(int, int, const Field*, Rays*, const float*, float*, float*);
int eg_train(int, int, const Field*, Rays*, Loss*, float*, float*);
int eg_mask(int, const Field*, const uint8_t*, const float*, int64_t, uint8_t*);
int eg_image(int, int, const Field*, Image*);
int eg_densities(int, int, const Field*, const float*, const float*, int64_t, float*);
int eg_convolve(int, int, const Convolution*, int64_t);
int eg_pack_weights(int, const float*, int64_t, int64_t, void*);
int eg_compose(int, int, const Composite*);
int eg_cover(Coverage*);
int eg_clear(float*, int64_t, int64_t, const int32_t*, int64_t, int64_t);
int eg_enlarge(int, int, const Enlargement*);
int eg_paint(int, int, const Picture*);
int eg_adam(int, int, float*, float*, float*, float*, uint16_t*, int64_t, const float*);
}

static unsigned state = 1;
static float uniform() {
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / (float)(1 << 24);
}
static std::vector<float> random_floats(size_t n, float scale) {
  std::vector<float> v(n);
  for (auto& x : v) x = (2 * uniform() - 1) * scale;
  return v;
}
#define CHECK(call)                              \
  if (const int status = (call)) {               \
    std::printf("%s: %d\n", #call, status);      \
    return 1;                                    \
  }

static int run(int isa, int threads, int64_t n_rays) {
  const int side = 6, cells_side = 6;
  std::vector<Level> levels;
  int64_t rows = 0;
  for (int l = 0; l < kLevels; l++) {
    const uint32_t resolution = 3 + 2 * (uint32_t)l, nodes = (resolution + 1) * (resolution + 1) * (resolution + 1);
    const bool dense = nodes <= 1024;
    const int64_t count = dense ? (nodes + 15) / 16 * 16 : 1024;
    levels.push_back({(float)resolution, dense, resolution + 1, dense ? 0 : 1023, rows});
    rows += count;
  }
  std::vector<uint32_t> table((size_t)rows);
  for (auto& pair : table) pair = 0x3e003e80u ^ (unsigned)(uniform() * 4) << 30;
  auto w1 = random_floats(64 * 40, 0.3f), w2 = random_floats(64 * 64, 0.2f), w3 = random_floats(16 * 64, 0.2f);
  auto b2 = random_floats(64, 0.1f), b3 = random_floats(16, 1.0f), c1 = random_floats(64 * 32, 0.2f);
  auto d1 = random_floats(64, 0.1f), c2 = random_floats(16 * 64, 0.2f), d2 = random_floats(16, 0.1f);
  std::vector<uint8_t> cells((size_t)cells_side * cells_side * cells_side, 1);
  for (size_t i = 0; i < cells.size(); i += 5) cells[i] = 0;
  const Field field{table.data(), levels.data(), w1.data(), w2.data(), w3.data(), b2.data(), b3.data(), 40,
                    c1.data(),    d1.data(),     c2.data(), d2.data(), cells.data(), cells_side};
  auto origins = random_floats((size_t)n_rays * 3, 1.5f), directions = random_floats((size_t)n_rays * 3, 1.0f);
  std::vector<float> jitter((size_t)n_rays, 0.999f);
  std::vector<int64_t> frames((size_t)n_rays);
  for (int64_t i = 0; i < n_rays; i++) {
    frames[(size_t)i] = i % 2;
    float* d = directions.data() + 3 * i;
    const float size = __builtin_sqrtf(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
    for (int k = 0; k < 3; k++) d[k] /= size;
  }
  if (n_rays > 4) origins[4] = __builtin_nanf(""), directions[9] = __builtin_inff();
  auto bias = random_floats(2 * 64, 0.5f), warps = random_floats(2 * side * side * side * 3, 0.2f);
  Rays rays{origins.data(), directions.data(), jitter.data(), frames.data(), nullptr, n_rays, nullptr, 0,
            bias.data(),    2,                 warps.data(),  side,          1.0f / 48,   1e-4f};
  std::vector<float> sums((size_t)n_rays * kSums), flat((size_t)eg_gradient_floats(2)), table_grad(2 * (size_t)rows);
  auto grad = random_floats((size_t)n_rays * kSums, 1.0f);
  CHECK(eg_sums(isa, threads, &field, &rays, sums.data()))
  CHECK(eg_sums_backward(isa, threads, &field, &rays, grad.data(), flat.data(), table_grad.data()))
  auto target = random_floats((size_t)n_rays * 3, 1.0f), background = random_floats((size_t)n_rays * 3, 1.0f);
  std::vector<float> opacity((size_t)n_rays);
  Loss loss{target.data(), background.data(), nullptr, jitter.data(), 0.3f, 1.0f, 0.1f, 0.0, 0.0, 0.0, opacity.data()};
  CHECK(eg_train(isa, threads, &field, &rays, &loss, flat.data(), table_grad.data()))
  rays.stop = 0.0f;
  CHECK(eg_train(isa, threads, &field, &rays, &loss, flat.data(), nullptr))
  CHECK(eg_sums_backward(isa, threads, &field, &rays, grad.data(), flat.data(), nullptr))

  std::vector<float> encoded((size_t)n_rays * kEncoded);
  CHECK(eg_encode(isa, &field, origins.data(), n_rays, encoded.data()))
  std::vector<float> density((size_t)n_rays);
  CHECK(eg_densities(isa, threads, &field, bias.data(), origins.data(), n_rays, density.data()))

  std::vector<uint8_t> mask(kCoarse * kCoarse * kCoarse);
  CHECK(eg_mask(isa, &field, cells.data(), warps.data(), side, mask.data()))
  const int64_t height = 19, width = 21, pixels = height * width;
  std::vector<float> out((size_t)pixels * kChannels), maps((size_t)pixels * 3), looks;
  for (int64_t i = 0; i < pixels; i++) {
    const float x = ((float)(i % width) / width - 0.5f) * 0.5f, y = ((float)(i / width) / height - 0.5f) * 0.5f;
    const float size = __builtin_sqrtf(x * x + y * y + 1);
    for (const float k : {x / size, y / size, -1 / size}) looks.push_back(k);
  }
  const float origin[3] = {0.5f, 0.5f, 2.6f};
  Image image{};
  image.origin = origin, image.directions = looks.data(), image.height = height, image.width = width;
  image.bias = bias.data(), image.warp = warps.data(), image.warp_side = side, image.step = 1.0f / 40;
  image.stop = 0.01f, image.mask = mask.data(), image.channels = out.data(), image.opacity = maps.data();
  image.depth = maps.data() + pixels, image.depth_sq = maps.data() + 2 * pixels;
  CHECK(eg_image(isa, threads, &field, &image))
  std::vector<float> value(101, 1.0f), mean(101), square(101), slope(101, 0.5f);
  std::vector<uint16_t> packed(101);
  const float settings[6] = {1e-2f, 0.9f, 0.99f, 10.0f, 100.0f, 1e-15f};
  CHECK(eg_adam(isa, threads, value.data(), mean.data(), square.data(), slope.data(), packed.data(), 101, settings))
  return 0;
}

// Everything behind the field: composite, cover, two layers, detail, all three kinds of picture.
static int finish(int isa, int threads, int64_t height, int64_t width) {
  const int64_t rows = (height + 3) / 4 * 4 + 2, cols = (width + 3) / 4 * 4 + 2, side = 9;
  const auto zeros = [&](int64_t channels) { return std::vector<float>((size_t)(rows * cols * channels)); };
  auto input = zeros(32), second = zeros(48), out = zeros(96);
  auto first = random_floats((size_t)(rows * cols) * 48, 1.0f);
  auto channels = random_floats((size_t)(height * width) * 16, 1.0f), opacity = random_floats((size_t)(height * width), 1.0f);
  auto plane = random_floats((size_t)(side * side) * kTexel, 1.0f), knots = random_floats(2 * kKnots * kKnots, 3.0f);
  const int64_t across = (2 * width + 15) / 16 * 16;
  auto down = random_floats((size_t)(2 * height) * kKnots, 1.0f), right = random_floats((size_t)across * kKnots, 1.0f);
  auto enter = random_floats(kTorsoHidden * kTorsoInputs, 1.0f), shade = random_floats(kTorsoHidden, 1.0f);
  auto leave = random_floats(17 * kTorsoHidden, 1.0f), leave_bias = random_floats(17, 1.0f);
  const float shoulders[6] = {0.1f, -0.2f, 0.05f, 0.1f, 0.4f, -0.3f};
  knots[3] = __builtin_nanf("");
  auto plane_place = zeros(2);
  const Composite composite{channels.data(), opacity.data(), height, width, height / 3, plane.data(), side, 0.9f, 0.25f,
                            knots.data(), shoulders, down.data(), right.data(), across, enter.data(), shade.data(),
                            leave.data(), leave_bias.data(), input.data(), cols, 32, plane_place.data()};
  CHECK(eg_compose(isa, threads, &composite))
  const size_t cells = (size_t)((rows - 2) / 4 * ((cols - 2) / 4));
  std::vector<int32_t> made(cells), hidden(cells), ring(cells);
  Coverage coverage{input.data(), height, width, cols, 32, 0.9f, made.data(), hidden.data(), ring.data(), 0, 0, 0};
  CHECK(eg_cover(&coverage))
  CHECK(eg_clear(second.data(), cols, 48, ring.data(), coverage.n_ring, width))
  auto weight = random_floats(36 * 80 * 96, 0.1f), bias = random_floats(96, 0.1f);
  std::vector<float> packed(weight.size());
  CHECK(eg_pack_weights(isa, weight.data(), 80, 96, packed.data()))
  const Convolution layers[2] = {
      {{first.data(), nullptr}, {48, 0}, {48, 0}, height, width, cols, 48, packed.data(), bias.data(), second.data(), 1,
       1, hidden.data(), coverage.n_hidden},
      {{second.data(), input.data()}, {48, 32}, {48, 18}, height, width, cols, 96, packed.data(), bias.data(),
       out.data(), 0, 0, nullptr, -1}};
  CHECK(eg_convolve(isa, threads, layers, 2))
  const int64_t warp_side = 5, texels = 7, layers_of_detail = 2;
  auto directions = random_floats((size_t)(height * width) * 3, 1.0f), depth = random_floats((size_t)(height * width), 1.0f);
  auto warp = random_floats((size_t)(warp_side * warp_side * warp_side) * 3, 0.1f);
  std::vector<uint32_t> texture((size_t)(texels * texels) * 3, 0x3f803f00u);
  auto surface = zeros(3), place = zeros(2), enlarged = zeros(64);
  const float eye[3] = {0.5f, 0.5f, 2.6f};
  directions[0] = __builtin_nanf("");
  for (const bool all : {false, true}) {
    const Enlargement enlargement{out.data(), height, width, cols, 96, layers_of_detail, made.data(),
                                  all ? -1 : coverage.n_made, eye, directions.data(), opacity.data(), depth.data(),
                                  warp.data(), warp_side, texture.data(), texels, 1.0f / 256, surface.data(),
                                  place.data(), enlarged.data(), all ? texture.data() : nullptr, texels, texels - 2,
                                  plane_place.data(), input.data(), 32};
    CHECK(eg_enlarge(isa, threads, &enlargement))
  }
  const int64_t full_width = 4 * width + 8, full_height = 4 * height + 4, pixels = full_width * full_height;
  std::vector<uint8_t> background((size_t)pixels * 3, 7);
  for (const int kind : {kRgb, kRgba, kPlanes}) {
    std::vector<uint8_t> picture((size_t)(kind == kRgb ? 3 * pixels : kind == kRgba ? 4 * pixels : pixels * 3 / 2));
    const Picture target{out.data(), height, width, cols, 96, made.data(), kind == kRgb ? -1 : coverage.n_made, 1, 2,
                         full_height, full_width, background.data(), picture.data(), 0.02f, kind};
    CHECK(eg_paint(isa, threads, &target))
  }
  return 0;
}

int main() {
  int tried = 0;
  for (int isa = 0; isa < 5; isa++) {
    if (!eg_has_isa(isa)) continue;
    for (const int threads : {1, 2})
      for (const int64_t n_rays : {0, 1, 33, 200})
        if (run(isa, threads, n_rays)) return 1;
    for (const int64_t size : {1, 5, 70})
      if (finish(isa, 2, size, 72 - size)) return 1;
    tried++;
  }
  std::printf("%d instruction sets\n", tried);
  return 0;
}
