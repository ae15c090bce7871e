#include <nanobind/nanobind.h>

NB_MODULE(_shm, m) { m.doc() = "depthd native code: shm"; }
