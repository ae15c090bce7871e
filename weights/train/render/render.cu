// Casts a batch of pictures, one thread a pixel: linear radiance, and inverse depth (1/m, 0 = sky).
#include "light.cuh"

// Evenly spread random numbers over a screen: J. Jimenez, "Next generation post processing in Call of Duty", 2014.
DEVICE float screen_noise(float x, float y) { return fraction(52.9829189f * fraction(0.06711056f * x + 0.00583715f * y)); }

constexpr int LAYERS = 6;   // of glass behind glass that a ray goes through

DEVICE Vector reflection(const World& world, const byte* pictures, const Ray& ray, const Shading& at, float distance) {
  Ray reflected = ray;
  reflected.direction = normalised(ray.direction + at.normal * (2.f * unit(-dot(at.normal, ray.direction))));
  reflected.origin = at.point + at.normal * (1e-3f + 1e-3f * distance);
  reflected.pixel_angle = ray.pixel_angle * 2.f;
  reflected.bounces = 0;
  Hit other;
  if (!trace(world, reflected.origin, reflected.direction, 1e-3f, 200.f, other, false))
    return sky(*world.scene, reflected.direction) * world.scene->sky_gain;
  return shade(world, pictures, other, reflected).light;
}

// Glass bends nothing here: its light comes straight from behind.
DEVICE Vector seen_along(const World& world, const byte* pictures, Ray ray) {
  const Scene& scene = *world.scene;
  Vector sum = vector(0, 0, 0), through = vector(1, 1, 1);
  for (int layer = 0; layer < LAYERS; layer++) {
    Hit hit;
    if (!trace(world, ray.origin, ray.direction, 1e-3f, 400.f, hit, false))
      return sum + through * sky(scene, ray.direction) * scene.sky_gain;
    Shading at = shade(world, pictures, hit, ray);
    Vector light = at.light;
    float share = 0;
    if (at.mirror > 0) {
      float miss = 1.f - unit(-dot(at.normal, ray.direction));
      share = at.mirror + (1.f - at.mirror) * 0.6f * miss * miss * miss * miss * miss;   // Schlick 1994
      light = mix(light, reflection(world, pictures, ray, at, hit.t), share);
    }
    if (scene.haze > 0) light = mix(vector(scene.horizon) * scene.sky_gain, light, expf(-hit.t * scene.haze));
    sum = sum + through * light;
    if (at.clear <= 0) return sum;
    through = through * at.tint * (at.clear * (1.f - share));
    ray.origin = at.point + ray.direction * 1e-3f;
  }
  return sum;
}

DEVICE void cast_pixel(int picture, int column, int row, const Primitive* primitives, const Material* materials,
                       const Group* groups, const Scene* scenes, const View* views, const byte* pictures,
                       float* radiance, float* inverse_depth, int height, int width, int samples, int bounces) {
  const View& view = views[picture];
  World world;
  world.scene = scenes + (int)view.scene;
  world.primitives = primitives + (int)world.scene->first_primitive;
  world.materials = materials + (int)world.scene->first_material;
  world.groups = groups + (int)world.scene->first_group;
  Vector right = vector(view.right), down = vector(view.down), forward = vector(view.forward), sum = vector(0, 0, 0);
  float noise_a = screen_noise(column + 357.648f * view.jitter, row), noise_b = screen_noise(row + 47.f, column + 17.f + view.jitter);
  long long pixel = (long long)row * width + column, area = (long long)height * width;
  for (int sample = 0; sample <= samples; sample++) {   // the ray through the centre, number 0, gives the depth alone
    float jitter_x = sample ? fraction(0.7548777f * sample + noise_a) - 0.5f : 0.f;
    float jitter_y = sample ? fraction(0.5698403f * sample + noise_b) - 0.5f : 0.f;
    Vector d = right * ((column + 0.5f + 1.15f * jitter_x - view.centre_x) / view.focal) +
               down * ((row + 0.5f + 1.15f * jitter_y - view.centre_y) / view.focal) + forward;
    float along_axis = 1.f / length(d);
    Ray ray;
    ray.origin = vector(view.position);
    ray.direction = d * along_axis;
    ray.pixel_angle = 1.f / view.focal;
    ray.random_a = fraction(noise_a + sample * 0.754877f);
    ray.random_b = fraction(noise_b + sample * 0.569840f);
    ray.bounces = bounces;
    if (sample == 0) {
      Hit hit;
      bool met = trace(world, ray.origin, ray.direction, 1e-3f, 400.f, hit, false);
      inverse_depth[picture * area + pixel] = met ? 1.f / (hit.t * along_axis) : 0.f;
    } else sum = sum + seen_along(world, pictures, ray);
  }
  sum = sum * (1.f / samples);
  long long first = picture * 3 * area + pixel;
  radiance[first] = sum.x;
  radiance[first + area] = sum.y;
  radiance[first + 2 * area] = sum.z;
}

#ifdef RENDER_ON_CPU
extern "C" int record_bytes(int record) {
  const int bytes[] = {sizeof(Primitive), sizeof(Material), sizeof(Group), sizeof(Scene), sizeof(View)};
  return bytes[record];
}

extern "C" void render(const Primitive* primitives, const Material* materials, const Group* groups, const Scene* scenes,
                       const View* views, const byte* pictures, float* radiance, float* inverse_depth, int count,
                       int height, int width, int samples, int bounces) {
  for (int picture = 0; picture < count; picture++)
    for (int row = 0; row < height; row++)
      for (int column = 0; column < width; column++)
        cast_pixel(picture, column, row, primitives, materials, groups, scenes, views, pictures, radiance,
                   inverse_depth, height, width, samples, bounces);
}
#else
extern "C" __global__ __launch_bounds__(128, 6) void render(
    const Primitive* __restrict__ primitives, const Material* __restrict__ materials, const Group* __restrict__ groups,
    const Scene* __restrict__ scenes, const View* __restrict__ views, const byte* __restrict__ pictures,
    float* radiance, float* inverse_depth, int height, int width, int samples, int bounces) {
  // A warp covers 8 by 4 pixels, a block 16 by 8: neighbours meet the same objects. Six blocks a multiprocessor: 80
  // registers and 300 bytes of spills by the compiler, before 120 registers and four blocks.
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  int column = blockIdx.x * 16 + (warp & 1) * 8 + (lane & 7), row = blockIdx.y * 8 + (warp >> 1) * 4 + (lane >> 3);
  if (column < width && row < height)
    cast_pixel(blockIdx.z, column, row, primitives, materials, groups, scenes, views, pictures, radiance,
               inverse_depth, height, width, samples, bounces);
}
#endif
