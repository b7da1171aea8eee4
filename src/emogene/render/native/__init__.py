"""Native CPU kernels of the head field: C++17, a plain C interface, loaded with ctypes."""
