// Vectors, hashes and noise. Everything in this folder is one source for two compilers: NVRTC for the GPU, and a C++
// compiler (RENDER_ON_CPU) for machines and tests without one.
#pragma once
#ifdef RENDER_ON_CPU
#include <math.h>
#define DEVICE static inline
#else
#define DEVICE __device__ __forceinline__
#endif

typedef unsigned int uint32;
typedef unsigned char byte;

struct Vector { float x, y, z; };

DEVICE Vector vector(float x, float y, float z) { Vector v; v.x = x; v.y = y; v.z = z; return v; }
DEVICE Vector vector(const float* v) { return vector(v[0], v[1], v[2]); }
DEVICE Vector operator+(Vector a, Vector b) { return vector(a.x + b.x, a.y + b.y, a.z + b.z); }
DEVICE Vector operator-(Vector a, Vector b) { return vector(a.x - b.x, a.y - b.y, a.z - b.z); }
DEVICE Vector operator*(Vector a, float s) { return vector(a.x * s, a.y * s, a.z * s); }
DEVICE Vector operator*(Vector a, Vector b) { return vector(a.x * b.x, a.y * b.y, a.z * b.z); }
DEVICE float dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
DEVICE Vector cross(Vector a, Vector b) {
  return vector(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
DEVICE float length(Vector a) { return sqrtf(dot(a, a)); }
DEVICE Vector normalised(Vector a) { return a * (1.f / fmaxf(length(a), 1e-12f)); }

DEVICE float clamped(float x, float low, float high) { return fminf(fmaxf(x, low), high); }
DEVICE float unit(float x) { return clamped(x, 0.f, 1.f); }
DEVICE float mix(float a, float b, float t) { return a + (b - a) * t; }
DEVICE Vector mix(Vector a, Vector b, float t) { return a + (b - a) * t; }
DEVICE float fraction(float x) { return x - floorf(x); }
DEVICE float smooth_step(float low, float high, float x) {
  float t = unit((x - low) / (high - low));
  return t * t * (3.f - 2.f * t);
}

// Mixes the bits of a whole number: C. Wellons, "Prospecting for hash functions", 2018 (lowbias32).
DEVICE uint32 mixed_bits(uint32 x) {
  x ^= x >> 16; x *= 0x7feb352dU; x ^= x >> 15; x *= 0x846ca68bU; x ^= x >> 16;
  return x;
}
DEVICE float hash(int x, int y, int z) {
  return (mixed_bits((uint32)x * 73856093U ^ (uint32)y * 19349663U ^ (uint32)z * 83492791U) & 0xffffff) / 16777216.f;
}

// Value noise in 0..1 with one cell a unit.
DEVICE float value_noise(Vector p) {
  float fx = floorf(p.x), fy = floorf(p.y), fz = floorf(p.z);
  int i = (int)fx, j = (int)fy, k = (int)fz;
  float x = p.x - fx, y = p.y - fy, z = p.z - fz;
  x = x * x * (3 - 2 * x); y = y * y * (3 - 2 * y); z = z * z * (3 - 2 * z);
  float low = mix(mix(hash(i, j, k), hash(i + 1, j, k), x), mix(hash(i, j + 1, k), hash(i + 1, j + 1, k), x), y);
  float high = mix(mix(hash(i, j, k + 1), hash(i + 1, j, k + 1), x),
                   mix(hash(i, j + 1, k + 1), hash(i + 1, j + 1, k + 1), x), y);
  return mix(low, high, z);
}

// Octaves of value noise. Those finer than `footprint`, a pixel's width in the units of p, fade to their mean.
DEVICE float fractal_noise(Vector p, float footprint, int octaves) {
  float sum = 0, weight = 0.5f, total = 0;
  for (int octave = 0; octave < octaves; octave++) {
    float seen = unit(1.5f - 1.5f * footprint);
    sum += weight * (seen > 0 ? mix(0.5f, value_noise(p), seen) : 0.5f);
    total += weight;
    weight *= 0.55f;
    p = p * 2.03f + vector(17.3f, 5.1f, 9.7f);
    footprint *= 2.03f;
  }
  return sum / total;
}
