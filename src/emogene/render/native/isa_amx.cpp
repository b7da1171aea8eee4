// x86-64 with AVX-512 and AMX-bf16 (Sapphire Rapids and later).
#define EG_LANES 16
#define EG_NAMESPACE amx
#define EG_MLP_AMX
#include "isa.h"

namespace emogene {
const Kernels kAmx = EG_KERNELS;
bool amx_probe() { return amx::probe(); }
}
