// x86-64 with AVX-512 FP16 and AMX-bf16 (Sapphire Rapids and later).
#ifdef EG_STUB  // this compiler cannot make them
#include "kernels.h"
namespace emogene {
const Kernels kAmx{};
bool amx_probe() { return false; }
}
#else
#define EG_LANES 16
#define EG_NAMESPACE amx
#define EG_MLP_AMX
#define EG_HALF_CONV
#include "isa.h"

namespace emogene {
const Kernels kAmx = EG_KERNELS;
bool amx_probe() { return amx::probe(); }
}
#endif
