// x86-64 with AVX-512 F, BW, DQ, VL.
#define EG_LANES 16
#define EG_NAMESPACE avx512
#include "isa.h"

namespace emogene {
const Kernels kAvx512 = EG_KERNELS;
}
