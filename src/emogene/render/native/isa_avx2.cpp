// x86-64 with AVX2 and FMA.
#define EG_LANES 8
#define EG_NAMESPACE avx2
#include "isa.h"

namespace emogene {
const Kernels kAvx2 = EG_KERNELS;
}
