// The colour of a surface at a point of its own axes (metres), filtered to a pixel's footprint.
#pragma once
#include "vector.cuh"
#include "tables.cuh"

enum Pattern {
  PLAIN = 0, NOISE = 1, WOOD = 2, STRIPES = 3, CHECKER = 4, TILES = 5, SPECKLE = 6, PICTURE = 7, MARBLE = 8, PRINT = 9,
  PLAID = 10, GRADIENT = 11, WINDOWS = 12
};

#define PICTURE_SIDE 256
#define PICTURE_TEXELS 87380   // 256^2 and all its mip levels down to 2^2

// A texture picture, bilinear in the mip level whose texels are about a pixel wide.
DEVICE Vector picture_at(const byte* pictures, int picture, float u, float v, float footprint_texels) {
  int level = (int)(clamped(log2f(fmaxf(footprint_texels, 1.f)), 0.f, 6.f) + 0.5f);
  const byte* texels = pictures + (long long)picture * PICTURE_TEXELS * 3;
  int side = PICTURE_SIDE;
  for (int k = 0; k < level; k++) { texels += side * side * 3; side >>= 1; }
  u = fraction(u) * side - 0.5f;
  v = fraction(v) * side - 0.5f;
  float left = floorf(u), top = floorf(v);
  int x0 = ((int)left + side) % side, x1 = (x0 + 1) % side, y0 = ((int)top + side) % side, y1 = (y0 + 1) % side;
  u -= left;
  v -= top;
  float light[3];
  for (int c = 0; c < 3; c++) {
    float above = mix(texels[(y0 * side + x0) * 3 + c], texels[(y0 * side + x1) * 3 + c], u);
    float below = mix(texels[(y1 * side + x0) * 3 + c], texels[(y1 * side + x1) * 3 + c], u);
    float grey = mix(above, below, v) / 255.f;
    light[c] = grey * grey;   // gamma 2 is close enough to sRGB
  }
  return vector(light);
}

// A bar of this duty in every period, its edges as wide as the footprint.
DEVICE float bar(float x, float duty, float footprint) {
  float f = fraction(x), edge = fmaxf(footprint, 1e-4f);
  float value = smooth_step(0, edge, f) - smooth_step(duty, duty + edge, f);
  return mix(unit(value), duty, unit(2.f * footprint - 0.5f));
}

// What a pattern does at one point, before dirt.
struct PatternPoint {
  Vector p, offset;
  float u, v, footprint, cells;   // cells: the footprint in periods of the pattern
};

DEVICE Vector wood(const Material& m, const PatternPoint& at, Vector a, Vector b) {
  Vector p = at.p;
  if ((int)m.grain_axis == 0) p.x *= m.stretch;
  else if ((int)m.grain_axis == 1) p.y *= m.stretch;
  else p.z *= m.stretch;
  float rings = fraction(fractal_noise(p * m.frequency + at.offset, at.cells, 4) * 6.f);
  float fibre = fractal_noise(p * (m.frequency * 6.f) + at.offset, at.cells * 6.f, 2) - 0.3f;
  float share = mix(unit(0.65f * rings + 0.5f * fibre), 0.5f, unit(at.cells * 3.f - 1.f));
  if (m.plank_m > 0) {
    float plank = at.v / m.plank_m, tone = 0.7f + 0.5f * hash((int)floorf(plank), (int)m.seed, 3);
    if (bar(plank, 0.04f, at.footprint / m.plank_m) > 0.5f) tone *= 0.4f;
    a = a * tone;
    b = b * tone;
  }
  return mix(a, b, share);
}

DEVICE Vector tiles(const Material& m, const PatternPoint& at, Vector a, Vector b) {
  float down = at.v * m.frequency * m.stretch, row = floorf(down);
  float across = at.u * m.frequency + (m.plank_m > 0 ? 0.5f * row : 0.f), column = floorf(across);
  float joint = fmaxf(bar(across, m.level, at.cells), bar(down, m.level, at.cells * m.stretch));
  float tone = mix(hash((int)column, (int)row, (int)m.seed), 0.5f, unit(at.cells * 2 - 0.5f));
  float grain = fractal_noise(at.p * (m.frequency * 7.f) + at.offset, at.cells * 7.f, 3);
  return mix(a * ((1.f + m.tone_spread * (tone - 0.5f)) * (0.85f + 0.3f * grain)), b, joint);
}

// Blocks like lines of print, with coloured fields between them.
DEVICE Vector print(const Material& m, const PatternPoint& at, Vector a, Vector b) {
  float line = at.v * m.frequency, letter = at.u * m.frequency * m.stretch;
  int seed = (int)m.seed, row = (int)floorf(line);
  bool inked = hash((int)floorf(letter), row, seed) > 0.45f && hash(row, seed, 1) > 0.3f && fraction(line) > 0.3f;
  float share = mix(inked ? 1.f : 0.f, 0.3f, unit(at.cells * m.stretch * 2.f - 0.5f));
  float field = hash((int)floorf(at.u * m.frequency * 0.17f), (int)floorf(line * 0.13f), seed + 9);
  if (field > 0.72f) return vector(hash(seed, 1, 2), hash(seed, 3, 2), hash(seed, 5, 2));
  return mix(a, b, share);
}

DEVICE Vector windows(const Material& m, const PatternPoint& at, Vector a, Vector b) {
  float across = at.u * m.frequency, down = at.v * m.frequency * m.stretch;
  float x = fraction(across), y = fraction(down);
  bool pane = x > 0.25f && x < 0.75f && y > 0.25f && y < 0.8f;
  float tone = 0.4f + 1.2f * hash((int)floorf(across), (int)floorf(down), (int)m.seed);
  return mix(a, b * tone, mix(pane ? 1.f : 0.f, 0.25f, unit(at.cells * 2.f - 0.5f)));
}

// How much of the second colour the patterns of two plain colours have here.
DEVICE float share_of_second(const Material& m, int pattern, const PatternPoint& at) {
  float f = m.frequency, cells = at.cells;
  if (pattern == NOISE) return unit((fractal_noise(at.p * f + at.offset, cells, 5) - 0.5f) * m.level + 0.5f);
  if (pattern == STRIPES) return bar(at.u * f + at.v * f * m.stretch + m.seed, m.level, cells);
  if (pattern == CHECKER) {
    float a = bar(at.u * f * 0.5f + m.seed, 0.5f, cells * 0.5f), b = bar(at.v * f * 0.5f, 0.5f, cells * 0.5f);
    return a + b - 2 * a * b;
  }
  if (pattern == SPECKLE)
    return mix(smooth_step(0.62f, 0.72f, value_noise(at.p * (f * 2.f) + at.offset)), 0.2f, unit(cells * 4.f - 1.f));
  if (pattern == MARBLE) {
    float vein = 1.f - fabsf(sinf((at.u * f + 4.f * fractal_noise(at.p * f + at.offset, cells, 5)) * 3.f));
    return mix(vein * vein * vein, 0.3f, unit(cells * 2.f - 0.5f));
  }
  if (pattern == PLAID)
    return 0.5f * bar(at.u * f, m.level, cells) + 0.3f * bar(at.v * f, m.level, cells) +
           0.2f * bar(at.u * f * 3.1f, 0.2f, cells * 3.1f);
  if (pattern == GRADIENT) return unit(at.p.z * f + 0.5f);
  return 0.f;
}

// p: metres in the shape's own axes; n: the normal there; footprint: a pixel's width on the surface, metres.
DEVICE Vector surface_colour(const Material& m, const byte* pictures, Vector p, Vector n, float footprint) {
  Vector a = vector(m.colour), b = vector(m.second_colour);
  PatternPoint at;
  at.p = p;
  at.offset = vector(m.seed, m.seed * 1.7f, m.seed * 0.6f);
  at.footprint = footprint;
  at.cells = footprint * m.frequency;
  float x = fabsf(n.x), y = fabsf(n.y), z = fabsf(n.z);
  if (z >= x && z >= y) { at.u = p.x; at.v = p.y; }
  else if (x >= y) { at.u = p.y; at.v = p.z; }
  else { at.u = p.x; at.v = p.z; }
  if (m.wrapped > 0.5f && z < 0.7f) { at.u = atan2f(p.y, p.x) * m.wrap_scale; at.v = p.z; }
  int pattern = (int)m.pattern;
  Vector colour;
  if (pattern == PICTURE) {
    float aspect = m.stretch > 0 ? m.stretch : 1.f, f = m.frequency;
    Vector seen = picture_at(pictures, (int)m.picture, at.u * f + m.seed, -at.v * f * aspect + m.seed * 0.37f,
                             at.cells * PICTURE_SIDE);
    return seen * mix(vector(1, 1, 1), a, m.level);
  }
  if (pattern == WOOD) colour = wood(m, at, a, b);
  else if (pattern == TILES) colour = tiles(m, at, a, b);
  else if (pattern == PRINT) colour = print(m, at, a, b);
  else if (pattern == WINDOWS) colour = windows(m, at, a, b);
  else colour = mix(a, b, share_of_second(m, pattern, at));
  if (m.dirt > 0) {
    float f = 0.7f * m.frequency + 1.3f;
    colour = colour * (1.f + m.dirt * (fractal_noise(p * f + at.offset, footprint * f, 3) - 0.5f));
  }
  return colour;
}
