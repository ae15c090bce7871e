#include <nanobind/nanobind.h>

NB_MODULE(_fusion, m) { m.doc() = "depthd native code: fusion"; }
