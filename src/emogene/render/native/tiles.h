// Tile instructions (AMX), or the same in plain code under EG_AMX_EMULATED so that any AVX-512 host can test them.
// Tiles are 16 rows of 64 bytes: fp32 [16][16], bf16 [16][32], or bf16 pairs [16][16].
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace emogene {
namespace EG_NAMESPACE {

#ifdef EG_AMX_EMULATED
struct Tiles {
  alignas(64) uint32_t at[8][16][16];
};
static thread_local Tiles tiles;

static inline void tile_load(int t, const void* p, long stride) {
  for (int r = 0; r < 16; r++) std::memcpy(tiles.at[t][r], (const char*)p + r * stride, 64);
}
static inline void tile_store(int t, void* p, long stride) {
  for (int r = 0; r < 16; r++) std::memcpy((char*)p + r * stride, tiles.at[t][r], 64);
}
static inline void tile_zero(int t) { std::memset(tiles.at[t], 0, sizeof tiles.at[t]); }
static inline float half_of(uint32_t pair, int high) {
  const uint32_t bits = high ? pair & 0xffff0000u : pair << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
static inline void tile_multiply(int c, int a, int b) {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      float sum;
      std::memcpy(&sum, &tiles.at[c][m][n], 4);
      for (int k = 0; k < 16; k++) {
        sum += half_of(tiles.at[a][m][k], 0) * half_of(tiles.at[b][k][n], 0);
        sum += half_of(tiles.at[a][m][k], 1) * half_of(tiles.at[b][k][n], 1);
      }
      std::memcpy(&tiles.at[c][m][n], &sum, 4);
    }
}
#define TILE_LOAD(t, p, stride) tile_load(t, p, stride)
#define TILE_STORE(t, p, stride) tile_store(t, p, stride)
#define TILE_ZERO(t) tile_zero(t)
#define TILE_MULTIPLY(c, a, b) tile_multiply(c, a, b)
static void begin_thread() {}
static void end_thread() {}
#else
#define TILE_LOAD(t, p, stride) _tile_loadd(t, p, stride)
#define TILE_STORE(t, p, stride) _tile_stored(t, p, stride)
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_MULTIPLY(c, a, b) _tile_dpbf16ps(c, a, b)

struct __attribute__((packed)) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

// On every entry: any bf16 operator of torch in this thread leaves the unit in another state.
static void begin_thread() {
  TileConfig config;
  std::memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int t = 0; t < 8; t++) config.row_bytes[t] = 64, config.rows[t] = 16;
  _tile_loadconfig(&config);
}
static void end_thread() { _tile_release(); }
#endif
#define EG_TILE_STATE

// Compilers may not know that a tile load reads memory: keep earlier stores before it.
static inline void stores_done() { __asm__ volatile("" ::: "memory"); }

}  // namespace EG_NAMESPACE
}  // namespace emogene
