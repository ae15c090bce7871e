// Where a ray meets a shape. Quads, boxes, balls and frustums are unit shapes in an affine frame and met exactly;
// the others are distance fields in a rigid frame (parameters in metres) and met by sphere tracing: J. C. Hart,
// "Sphere tracing", The Visual Computer 12, 1996.
#pragma once
#include "vector.cuh"
#include "tables.cuh"

enum Shape {
  BALL = 0, BOX = 1, FRUSTUM = 2, QUAD = 4, ROUND_BOX = 5, TORUS = 6, CAPSULE = 7, BLOB = 8, LATHE = 9, DRAPE = 10,
  SUPERQUADRIC = 11
};
enum Cut { WHOLE = 0, DISC = 1, FOLIAGE = 2, LATTICE = 3, LEAF = 4, BARS = 5, STAR = 6 };   // what is left of a quad

#define TRACING_STEPS 56

DEVICE float round_box_distance(const float* half, float rounding, Vector p) {
  Vector q = vector(fabsf(p.x) - half[0] + rounding, fabsf(p.y) - half[1] + rounding, fabsf(p.z) - half[2] + rounding);
  Vector outside = vector(fmaxf(q.x, 0), fmaxf(q.y, 0), fmaxf(q.z, 0));
  return length(outside) + fminf(fmaxf(q.x, fmaxf(q.y, q.z)), 0.f) - rounding;
}

// A turned body about z: half height, radius, waviness of its profile, wall thickness (0: solid).
DEVICE float lathe_distance(const float* parameter, float seed, Vector p) {
  float half = parameter[0], along = 3.f * p.z / half;
  float wave = (sinf(along + seed) + 0.5f * sinf(2.3f * along + 1.7f * seed)) / 1.5f;
  float radial = (sqrtf(p.x * p.x + p.y * p.y) - parameter[1] * (1.f + parameter[2] * wave)) * 0.6f;
  float cap = fabsf(p.z) - half;
  if (parameter[3] <= 0.f) return fmaxf(radial, cap);
  float wall = fmaxf(fabsf(radial) - parameter[3], cap);
  float floor = fmaxf(radial, fmaxf(-half - p.z, p.z + half - 2.f * parameter[3]));
  return fminf(wall, floor);
}

// A hanging or lying cloth: half sizes, height of its folds, their frequency.
DEVICE float drape_distance(const float* parameter, float seed, Vector p) {
  float height = parameter[2], frequency = parameter[3];
  float folds = 0.6f * sinf(frequency * p.x + seed) + 0.4f * sinf(1.7f * frequency * p.x + 0.8f * frequency * p.y + 2.f * seed);
  float slope = height * frequency * 1.4f;
  float sheet = fabsf(p.z - height * folds) / sqrtf(1.f + slope * slope) - 0.003f;
  return fmaxf(sheet, fmaxf(fabsf(p.x) - parameter[0], fabsf(p.y) - parameter[1]));
}

// |x/a|^p + |y/b|^p + |z/c|^p = 1: an octahedron at p = 1, a ball at 2, nearly a box at 8. A. Barr, "Superquadrics and
// angle-preserving transformations", IEEE CG&A 1, 1981. Scaled so that it never exceeds the distance.
DEVICE float superquadric_distance(const float* parameter, Vector p) {
  float power = parameter[3];
  float sum = powf(fabsf(p.x) / parameter[0] + 1e-6f, power) + powf(fabsf(p.y) / parameter[1] + 1e-6f, power) +
              powf(fabsf(p.z) / parameter[2] + 1e-6f, power);
  float least = fminf(parameter[0], fminf(parameter[1], parameter[2]));
  return (powf(sum, 1.f / power) - 1.f) * least * (power < 2.f ? 0.57f : 1.f);
}

DEVICE float blob_distance(const float* parameter, float seed, Vector p) {
  float f = parameter[2];
  float bumps = sinf(f * p.x + seed) * sinf(f * p.y + 1.7f * seed) * sinf(f * p.z + 2.3f * seed) +
                0.5f * sinf(2.1f * f * p.y + seed) * sinf(1.9f * f * p.x);
  return (length(p) - parameter[0] + parameter[1] * bumps) * 0.6f;
}

DEVICE float distance_to(const Primitive& primitive, int shape, Vector p) {
  const float* parameter = primitive.parameter;
  if (shape == ROUND_BOX) return round_box_distance(parameter, parameter[3], p);
  if (shape == TORUS) {
    float ring = sqrtf(p.x * p.x + p.y * p.y) - parameter[0];
    return sqrtf(ring * ring + p.z * p.z) - parameter[1];
  }
  if (shape == CAPSULE) {
    float z = p.z - clamped(p.z, -parameter[0], parameter[0]);
    return sqrtf(p.x * p.x + p.y * p.y + z * z) - parameter[1];
  }
  if (shape == LATHE) return lathe_distance(parameter, primitive.seed, p);
  if (shape == DRAPE) return drape_distance(parameter, primitive.seed, p);
  if (shape == SUPERQUADRIC) return superquadric_distance(parameter, p);
  return blob_distance(parameter, primitive.seed, p);
}

DEVICE bool is_left_standing(const Primitive& primitive, float x, float y) {
  const float* parameter = primitive.parameter;
  int cut = (int)parameter[0];
  if (cut == WHOLE) return true;
  if (cut == DISC) return x * x + y * y <= 1.f;
  if (cut == FOLIAGE) {
    Vector at = vector(x * parameter[1] + primitive.seed, y * parameter[1], primitive.seed);
    return value_noise(at) - 0.55f * (x * x + y * y) > parameter[2];
  }
  float across = fabsf(fraction(x * parameter[1]) - 0.5f), down = fabsf(fraction(y * parameter[2]) - 0.5f);
  if (cut == LATTICE) return across > 0.5f - parameter[3] || down > 0.5f - parameter[3];
  if (cut == LEAF) { float width = 1.f - y * y; return fabsf(x) < width * width; }
  if (cut == BARS) return across > 0.5f - parameter[3];
  float angle = atan2f(y, x);
  float reach = 0.55f + 0.35f * sinf(angle * parameter[1] + primitive.seed) * cosf(angle * 2.f + primitive.seed);
  return x * x + y * y < reach;
}

DEVICE bool meet_quad(const Primitive& primitive, Vector o, Vector d, float least, float most, float& t, Vector& n) {
  if (fabsf(d.z) < 1e-12f) return false;
  t = -o.z / d.z;
  if (t <= least || t >= most) return false;
  float x = o.x + t * d.x, y = o.y + t * d.y;
  if (fabsf(x) > 1 || fabsf(y) > 1 || !is_left_standing(primitive, x, y)) return false;
  n = vector(0, 0, 1);
  return true;
}

DEVICE float inverse(float x) { return 1.f / (fabsf(x) > 1e-12f ? x : 1e-12f); }

// Slabs: T. Kay and J. Kajiya, "Ray tracing complex scenes", SIGGRAPH 1986.
DEVICE bool meet_box(Vector o, Vector d, float least, float most, float& t, Vector& n) {
  float ix = inverse(d.x), iy = inverse(d.y), iz = inverse(d.z);
  float ax = (-1 - o.x) * ix, bx = (1 - o.x) * ix, ay = (-1 - o.y) * iy, by = (1 - o.y) * iy;
  float az = (-1 - o.z) * iz, bz = (1 - o.z) * iz;
  float enter = fmaxf(fminf(ax, bx), fmaxf(fminf(ay, by), fminf(az, bz)));
  float leave = fminf(fmaxf(ax, bx), fminf(fmaxf(ay, by), fmaxf(az, bz)));
  if (enter > leave) return false;
  t = enter > least ? enter : leave;
  if (t <= least || t >= most) return false;
  Vector p = o + d * t;
  float x = fabsf(p.x), y = fabsf(p.y), z = fabsf(p.z);
  if (x >= y && x >= z) n = vector(p.x > 0 ? 1 : -1, 0, 0);
  else if (y >= z) n = vector(0, p.y > 0 ? 1 : -1, 0);
  else n = vector(0, 0, p.z > 0 ? 1 : -1);
  return true;
}

DEVICE bool meet_ball(Vector o, Vector d, float least, float most, float& t, Vector& n) {
  float a = dot(d, d), half_b = dot(o, d), c = dot(o, o) - 1.f, under = half_b * half_b - a * c;
  if (under < 0) return false;
  float root = sqrtf(under);
  t = (-half_b - root) / a;
  if (t <= least) t = (-half_b + root) / a;
  if (t <= least || t >= most) return false;
  n = o + d * t;
  return true;
}

// A capped cone about z in -1..1; radius parameter[0] below, parameter[1] above.
DEVICE bool meet_frustum(const float* parameter, Vector o, Vector d, float least, float most, float& t, Vector& n) {
  float middle = 0.5f * (parameter[0] + parameter[1]), slope = 0.5f * (parameter[1] - parameter[0]);
  float radius = middle + slope * o.z, change = slope * d.z;
  float a = d.x * d.x + d.y * d.y - change * change, half_b = o.x * d.x + o.y * d.y - radius * change;
  float under = half_b * half_b - a * (o.x * o.x + o.y * o.y - radius * radius);
  float best = most;
  bool met = false;
  if (under >= 0 && fabsf(a) > 1e-12f) {
    float root = sqrtf(under);
    for (int sign = -1; sign < 2; sign += 2) {
      float at = (-half_b + sign * root) / a, z = o.z + at * d.z;
      if (at > least && at < best && fabsf(z) <= 1.f && middle + slope * z >= 0) {
        best = at;
        met = true;
        Vector p = o + d * at;
        n = vector(p.x, p.y, -slope * (middle + slope * z));
      }
    }
  }
  if (fabsf(d.z) > 1e-12f)
    for (int end = 0; end < 2; end++) {
      float z = end ? 1.f : -1.f, at = (z - o.z) / d.z, x = o.x + at * d.x, y = o.y + at * d.y;
      if (at > least && at < best && x * x + y * y <= parameter[end] * parameter[end]) {
        best = at;
        met = true;
        n = vector(0, 0, z);
      }
    }
  t = best;
  return met;
}

DEVICE bool meet_field(const Primitive& primitive, int shape, Vector o, Vector d, float least, float most, float& t,
                       Vector& n) {
  float bound = primitive.radius, half_b = dot(o, d), under = half_b * half_b - dot(o, o) + bound * bound;
  if (under < 0) return false;
  float root = sqrtf(under), start = fmaxf(-half_b - root, least), end = fminf(-half_b + root, most);
  if (start >= end) return false;
  float near_enough = 2e-4f * fmaxf(bound, 0.05f) + 2e-4f * start;
  t = start;
  for (int step = 0; step < TRACING_STEPS; step++) {
    float distance = distance_to(primitive, shape, o + d * t);
    if (distance < near_enough) {
      if (t <= least + 1e-6f && distance < 0) return false;   // the ray began inside
      Vector p = o + d * t;
      float e = 1e-3f * fmaxf(bound, 0.05f), here = distance_to(primitive, shape, p);
      n = vector(distance_to(primitive, shape, p + vector(e, 0, 0)) - here,
                 distance_to(primitive, shape, p + vector(0, e, 0)) - here,
                 distance_to(primitive, shape, p + vector(0, 0, e)) - here);
      return t > least && t < most;
    }
    t += distance;
    if (t > end) return false;
  }
  return false;
}

// The nearest meeting between `least` and `most`: its ray parameter, and the outward normal in the shape's own axes.
DEVICE bool meet(const Primitive& primitive, Vector o, Vector d, float least, float most, float& t, Vector& n) {
  const float* m = primitive.to_local;
  Vector local_o = vector(m[0] * o.x + m[1] * o.y + m[2] * o.z + m[3], m[4] * o.x + m[5] * o.y + m[6] * o.z + m[7],
                          m[8] * o.x + m[9] * o.y + m[10] * o.z + m[11]);
  Vector local_d = vector(m[0] * d.x + m[1] * d.y + m[2] * d.z, m[4] * d.x + m[5] * d.y + m[6] * d.z,
                          m[8] * d.x + m[9] * d.y + m[10] * d.z);
  int shape = (int)primitive.shape;
  if (shape == QUAD) return meet_quad(primitive, local_o, local_d, least, most, t, n);
  if (shape == BOX) return meet_box(local_o, local_d, least, most, t, n);
  if (shape == BALL) return meet_ball(local_o, local_d, least, most, t, n);
  if (shape == FRUSTUM) return meet_frustum(primitive.parameter, local_o, local_d, least, most, t, n);
  return meet_field(primitive, shape, local_o, local_d, least, most, t, n);
}

struct Hit { float t; int primitive; Vector normal; };

// The first primitive that a ray meets; with `any`, whether something that does not shine stands in its way.
DEVICE bool trace(const World& world, Vector o, Vector d, float least, float most, Hit& hit, bool any) {
  hit.t = most;
  hit.primitive = -1;
  int groups = (int)world.scene->groups;
  for (int g = 0; g < groups; g++) {
    const Group& group = world.groups[g];
    Vector to_origin = o - vector(group.centre);
    float half_b = dot(to_origin, d), under = half_b * half_b - dot(to_origin, to_origin) + group.radius * group.radius;
    if (under < 0) continue;
    float root = sqrtf(under);
    if (-half_b + root < least || -half_b - root > hit.t) continue;
    for (int k = (int)group.first; k < (int)group.end; k++) {
      float t;
      Vector n;
      if (!meet(world.primitives[k], o, d, least, hit.t, t, n)) continue;
      if (any && world.materials[(int)world.primitives[k].material].emission > 0.5f) continue;
      hit.t = t;
      hit.primitive = k;
      hit.normal = n;
      if (any) return true;
    }
  }
  return hit.primitive >= 0;
}
