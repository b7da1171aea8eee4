// Any CPU: four lanes of compiler vectors (SSE2, NEON, ...).
#define EG_LANES 4
#define EG_NAMESPACE portable
#include "isa.h"

namespace emogene {
const Kernels kPortable = EG_KERNELS;
}
