// How much light a surface sends to the eye: lamps and sun with soft shadows, one bounce of sky and surroundings.
#pragma once
#include "shapes.cuh"
#include "patterns.cuh"

DEVICE Vector sky(const Scene& scene, Vector d) {
  Vector colour = mix(vector(scene.horizon), vector(scene.zenith), sqrtf(unit(d.z * 1.2f)));
  if (d.z < 0) return mix(colour, vector(scene.ground), unit(-4.f * d.z));
  if (scene.cloud_cover <= 0) return colour;
  Vector at = vector(d.x / (d.z + 0.15f), d.y / (d.z + 0.15f), scene.cloud_seed);
  float cloud = smooth_step(0.5f, 0.75f, fractal_noise(at * 1.2f, 0.f, 5)) * scene.cloud_cover;
  return mix(colour, vector(1, 1, 1) * scene.cloud_brightness, cloud);
}

// A direction about n, as dense as the cosine to it.
DEVICE Vector cosine_direction(Vector n, float angle, float squared_sine) {
  Vector t = normalised(cross(n, fabsf(n.z) < 0.9f ? vector(0, 0, 1) : vector(1, 0, 0)));
  float sine = sqrtf(squared_sine);
  return t * (sine * cosf(angle)) + cross(n, t) * (sine * sinf(angle)) + n * sqrtf(fmaxf(0.f, 1.f - squared_sine));
}

// The transpose of a primitive's linear part takes its normals to the world.
DEVICE Vector normal_to_world(const float* m, Vector n) {
  return vector(m[0] * n.x + m[4] * n.y + m[8] * n.z, m[1] * n.x + m[5] * n.y + m[9] * n.z,
                m[2] * n.x + m[6] * n.y + m[10] * n.z);
}

struct Shading {
  Vector light, normal, point, tint;   // tint: of what goes through
  float mirror, clear;
};

struct Ray {
  Vector origin, direction;
  float pixel_angle, random_a, random_b;
  int bounces;      // rays that look for ambient light; 0: a guess, and no shadows
};

DEVICE Vector bumped(const Primitive& primitive, const Material& m, Vector p, Vector normal, float footprint) {
  float f = m.bump_frequency, seen = unit(1.2f - footprint * f);
  if (seen <= 0) return normal;
  Vector at = p * f + vector(m.seed, 0, 0);
  float e = 0.3f, here = fractal_noise(at, footprint * f, 2);
  Vector slope = vector(fractal_noise(at + vector(e, 0, 0), footprint * f, 2) - here,
                        fractal_noise(at + vector(0, e, 0), footprint * f, 2) - here,
                        fractal_noise(at + vector(0, 0, e), footprint * f, 2) - here);
  Vector scaled = vector(slope.x * primitive.size[0], slope.y * primitive.size[1], slope.z * primitive.size[2]);
  Vector g = normal_to_world(primitive.to_local, scaled);
  g = g - normal * dot(normal, g);
  return normalised(normal - g * (m.bump * seen * 3.f));
}

DEVICE Vector lamp_light(const World& world, const Light& lamp, int number, const Material& m, Vector albedo,
                         const Ray& ray, const Shading& at, Vector normal, Vector start) {
  float angle = 6.2831853f * fraction(ray.random_a + 0.37f * number);
  float z = 2.f * fraction(ray.random_b + 0.61f * number) - 1.f, around = sqrtf(1 - z * z);
  Vector offset = vector(around * cosf(angle), around * sinf(angle), z) * lamp.softness;
  Vector to_lamp;
  float distance = 200.f, falloff = 1.f;
  if (lamp.is_lamp < 0.5f) to_lamp = normalised(vector(lamp.position) + offset);
  else {
    to_lamp = vector(lamp.position) + offset - at.point;
    distance = length(to_lamp);
    to_lamp = to_lamp * (1.f / distance);
    falloff = 1.f / (distance * distance + 0.1f);
  }
  float cosine = dot(normal, to_lamp);
  if (cosine <= 0 || dot(at.normal, to_lamp) <= 0) return vector(0, 0, 0);
  Hit shadow;
  if (ray.bounces > 0 && lamp.casts_shadow > 0.5f &&
      trace(world, start, to_lamp, 1e-4f, distance - 0.02f, shadow, true))
    return vector(0, 0, 0);
  Vector power = vector(lamp.colour) * falloff, light = albedo * power * cosine;
  if (m.specular > 0) {   // Blinn and Phong
    Vector half = normalised(to_lamp - ray.direction);
    light = light + power * (m.specular * powf(fmaxf(dot(normal, half), 0.f), m.gloss));
  }
  return light;
}

DEVICE Vector ambient_light(const World& world, const Ray& ray, Vector surface_normal, Vector normal, Vector start) {
  const Scene& scene = *world.scene;
  Vector zenith = vector(scene.zenith);
  if (ray.bounces == 0) return mix(vector(scene.ground), zenith, normal.z * 0.5f + 0.5f) * (0.7f * scene.ambient);
  Vector sum = vector(0, 0, 0);
  for (int k = 0; k < ray.bounces; k++) {
    Vector d = cosine_direction(normal, 6.2831853f * fraction(ray.random_a + k * 0.618034f),
                                fraction(ray.random_b + (k + 0.5f) / ray.bounces));
    if (dot(d, surface_normal) < 0.02f) continue;
    Hit hit;
    if (!trace(world, start, d, 1e-3f, scene.occlusion_m, hit, false)) {
      sum = sum + sky(scene, d) * scene.ambient;
      continue;
    }
    const Material& other = world.materials[(int)world.primitives[hit.primitive].material];
    Vector colour = vector(other.colour);
    float open = mix(0.25f, 1.f, unit(hit.t / scene.occlusion_m));
    sum = sum + (colour * 0.6f + vector(0.15f, 0.15f, 0.15f)) * zenith * (open * scene.ambient) +
          colour * (other.emission * 0.3f);
  }
  return sum * (1.f / ray.bounces);
}

DEVICE Shading shade(const World& world, const byte* pictures, const Hit& hit, const Ray& ray) {
  const Scene& scene = *world.scene;
  const Primitive& primitive = world.primitives[hit.primitive];
  const Material& m = world.materials[(int)primitive.material];
  const float *l = primitive.to_local, *size = primitive.size;
  Shading at;
  Vector p = at.point = ray.origin + ray.direction * hit.t;
  Vector normal = normalised(normal_to_world(l, hit.normal));
  if (dot(normal, ray.direction) > 0) normal = normal * -1.f;
  at.normal = normal;
  Vector own = vector((l[0] * p.x + l[1] * p.y + l[2] * p.z + l[3]) * size[0],
                      (l[4] * p.x + l[5] * p.y + l[6] * p.z + l[7]) * size[1],
                      (l[8] * p.x + l[9] * p.y + l[10] * p.z + l[11]) * size[2]);
  Vector own_normal = normalised(vector(hit.normal.x / size[0], hit.normal.y / size[1], hit.normal.z / size[2]));
  float footprint = ray.pixel_angle * hit.t / fmaxf(fabsf(dot(normal, ray.direction)), 0.12f);
  Vector albedo = surface_colour(m, pictures, own + vector(primitive.seed, 0, 0), own_normal, footprint);
  albedo = vector(clamped(albedo.x, 0.01f, 0.95f), clamped(albedo.y, 0.01f, 0.95f), clamped(albedo.z, 0.01f, 0.95f));
  at.tint = albedo;
  at.clear = m.clear;
  albedo = albedo * (1.f - m.clear);
  at.light = albedo * m.emission;
  at.mirror = m.emission > 0.5f ? 0.f : m.mirror;
  if (m.emission > 0.5f) return at;
  if (m.bump > 0 && ray.bounces > 0) normal = bumped(primitive, m, own, normal, footprint);
  Vector start = p + at.normal * (1e-3f + 1e-3f * hit.t);
  for (int k = 0; k < (int)scene.lights; k++)
    at.light = at.light + lamp_light(world, scene.light[k], k, m, albedo, ray, at, normal, start);
  at.light = at.light + albedo * ambient_light(world, ray, at.normal, normal, start);
  return at;
}
