#ifndef DEPTHD_H
#define DEPTHD_H
#endif
