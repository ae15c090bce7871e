// What a batch of scenes is made of: tables of floats, filled by batch.py, whose record types have the same fields.
// World axes: x right, y forward, z up, metres.
#pragma once

struct Primitive {
  float shape, material;
  float to_local[12];   // 3x4, world -> the shape's own axes
  float parameter[4];   // see shapes.cuh
  float size[3];        // metres a local unit, for patterns
  float seed, radius, spare;
};

struct Material {
  float colour[3], second_colour[3];   // share of the light that comes back, linear
  float pattern, frequency, stretch, level;
  float specular, gloss, emission, mirror;
  float picture, bump, dirt, seed;
  float wrapped, wrap_scale, grain_axis, plank_m, tone_spread, bump_frequency;
  float clear;          // share of the light that goes through instead of coming back
};

struct Group { float centre[3], radius, first, end, spare[2]; };   // an object's primitives in a bounding ball

struct Light { float position[3], is_lamp, colour[3], softness, casts_shadow; };   // a lamp, or a direction

struct Scene {
  float first_primitive, first_material, first_group, groups, sky_gain, lights;
  float zenith[3], horizon[3], ground[3];
  float cloud_seed, cloud_cover, cloud_brightness;
  float occlusion_m, ambient;
  Light light[4];
  float haze, spare[7];
};

struct View {
  float scene, position[3], right[3], down[3], forward[3];
  float focal, centre_x, centre_y, jitter, spare[7];   // focal and centre in pixels
};

struct World {   // one scene, with its parts of the tables
  const Primitive* primitives;
  const Material* materials;
  const Group* groups;
  const Scene* scene;
};
