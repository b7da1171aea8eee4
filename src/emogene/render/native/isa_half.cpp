// x86-64 with AVX-512 FP16: networks multiply in half precision, at twice the rate; colour in training stays single.
#ifdef EG_STUB  // this compiler cannot make them
#include "kernels.h"
namespace emogene {
const Kernels kHalf{};
}
#else
#define EG_LANES 16
#define EG_NAMESPACE half
#define EG_HALF_CONV
#define EG_HALF_MLP
#include "isa.h"

namespace emogene {
const Kernels kHalf = EG_KERNELS;
}
#endif
