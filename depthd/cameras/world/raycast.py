"""The ray caster's inner loops, compiled by Numba.

Everything is in the axes of one eye (x right, y down, z forward, metres). A ray has the direction (x, y, 1),
so its parameter is the depth along the optical axis, and an affine map to a solid's local axes keeps it:
depth is exact to double precision, whatever the shape. No fastmath: infinity means that a ray hits nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from depthd.cameras.compiled import compiled, inlined
from depthd.cameras.world.solids import Optics, Shape
from depthd.cameras.world.textures import SIDE

TILE = 16
"""Side of the square of pixels that shares one list of candidate solids."""
NOTHING = np.uint8(255)
"""Object id of a ray that hits nothing."""

_QUAD, _BOX, _ELLIPSOID, _FRUSTUM = int(Shape.QUAD), int(Shape.BOX), int(Shape.ELLIPSOID), int(Shape.FRUSTUM)
_GLASS, _MIRROR = int(Optics.GLASS), int(Optics.MIRROR)
_HALF_TURN = 0.5 / math.pi

# Columns of Surfaces.numbers
RED, GREEN, BLUE, SPECULAR, GLOSS, REFLECTIVITY, EMISSION = range(7)
U_REPEATS, V_REPEATS, W_REPEATS, U_OFFSET, V_OFFSET, TEXELS_PER_M = range(7, 13)
NUMBERS = 13
# Columns of Surfaces.codes
SHAPE, OPTICS, TEXTURE, OBJECT, LIGHT_MAP, LIGHT_MAP_SIDE = range(6)
CODES = 6


class Surfaces(NamedTuple):
    """What does not change from frame to frame, one row a solid."""

    codes: NDArray[np.int64]
    """(n, CODES): shape, optics, first texel or -1, object id, first light-map texel or -1, its side."""
    numbers: NDArray[np.float64]
    parameter: NDArray[np.float64]
    texels: NDArray[np.uint8]
    light_map: NDArray[np.uint8]
    """(texels, 4): open sky, then the visible share of lights 0 to 2; 255 = all."""


class Eye(NamedTuple):
    """What one eye sees in one frame."""

    to_local: NDArray[np.float64]
    """(n, 3, 4): this eye's axes -> each solid's local axes."""
    nearest: NDArray[np.float64]
    """(n,): a lower bound of each solid's depth."""
    candidates: NDArray[np.int16]
    """(tiles, n): solids that may cover the tile, nearest bound first."""
    candidate_counts: NDArray[np.int32]
    lights: NDArray[np.float64]
    """(k, 6): position, power times colour."""
    occluders: NDArray[np.float64]
    """(m, 4): spheres (centre, radius) that stand for moving solids in soft shadows."""
    ambient: NDArray[np.float64]
    """(6,): colour, and the up direction."""
    optics: NDArray[np.float64]
    """fx, fy, cx, cy."""


class Images(NamedTuple):
    """What one eye's rays return, all (height, width[, 3])."""

    radiance: NDArray[np.float32]
    depth_m: NDArray[np.float32]
    """The first surface, glass included; +inf where there is none."""
    opaque_depth_m: NDArray[np.float32]
    """The first surface that is not glass."""
    objects: NDArray[np.uint8]


@compiled
def intersect(shape, parameter, ox, oy, oz, dx, dy, dz, minimum):  # type: ignore[no-untyped-def]
    """Smallest ray parameter above `minimum` at which o + t·d meets the unit shape, or infinity."""
    if shape == _QUAD:
        t = -oz / dz
        if t > minimum and abs(ox + t * dx) <= 1.0 and abs(oy + t * dy) <= 1.0:
            return t
        return np.inf
    if shape == _BOX:
        # Slabs: Kay and Kajiya, "Ray tracing complex scenes", 1986.
        ix, iy, iz = 1.0 / dx, 1.0 / dy, 1.0 / dz
        ax, bx = (-1.0 - ox) * ix, (1.0 - ox) * ix
        ay, by = (-1.0 - oy) * iy, (1.0 - oy) * iy
        az, bz = (-1.0 - oz) * iz, (1.0 - oz) * iz
        enter = max(min(ax, bx), min(ay, by), min(az, bz))
        leave = min(max(ax, bx), max(ay, by), max(az, bz))
        if enter > leave:
            return np.inf
        if enter > minimum:
            return enter
        return leave if leave > minimum else np.inf
    if shape == _ELLIPSOID:
        return _first_root(
            dx * dx + dy * dy + dz * dz,
            ox * dx + oy * dy + oz * dz,
            ox * ox + oy * oy + oz * oz - 1.0,
            minimum,
        )
    if shape == _FRUSTUM:
        return _frustum(parameter, ox, oy, oz, dx, dy, dz, minimum)
    return _capsule(parameter, ox, oy, oz, dx, dy, dz, minimum)


@inlined
def _first_root(a, half_b, c, minimum):  # type: ignore[no-untyped-def]
    """Smallest root of a·t² + 2·half_b·t + c above minimum, or infinity."""
    under = half_b * half_b - a * c
    if under < 0.0:
        return np.inf
    root = math.sqrt(under)
    t = (-half_b - root) / a
    if t > minimum:
        return t
    t = (-half_b + root) / a
    return t if t > minimum else np.inf


@compiled
def _frustum(taper, ox, oy, oz, dx, dy, dz, minimum):  # type: ignore[no-untyped-def]
    best = np.inf
    slope = taper - 1.0
    radius = 1.0 + slope * oy
    a = dx * dx + dz * dz - slope * slope * dy * dy
    half_b = ox * dx + oz * dz - slope * dy * radius
    under = half_b * half_b - a * (ox * ox + oz * oz - radius * radius)
    if under >= 0.0:
        root = math.sqrt(under)
        for sign in (-1.0, 1.0):
            t = (-half_b + sign * root) / a
            y = oy + t * dy
            if minimum < t < best and 0.0 <= y <= 1.0:
                best = t
    for end in (0.0, 1.0):
        t = (end - oy) / dy
        x, z = ox + t * dx, oz + t * dz
        limit = 1.0 + slope * end
        if minimum < t < best and x * x + z * z <= limit * limit:
            best = t
    return best


@compiled
def _capsule(length, ox, oy, oz, dx, dy, dz, minimum):  # type: ignore[no-untyped-def]
    best = np.inf
    a = dx * dx + dz * dz
    half_b = ox * dx + oz * dz
    under = half_b * half_b - a * (ox * ox + oz * oz - 1.0)
    if under < 0.0:
        return np.inf
    root = math.sqrt(under)
    for sign in (-1.0, 1.0):
        t = (-half_b + sign * root) / a
        if minimum < t < best and 0.0 <= oy + t * dy <= length:
            best = t
    squared = a + dy * dy
    for end in (0.0, length):
        y = oy - end
        t = _first_root(squared, half_b + y * dy, ox * ox + y * y + oz * oz - 1.0, minimum)
        beyond = (oy + t * dy - end) * (1.0 if end > 0.0 else -1.0) >= 0.0
        if t < best and beyond:
            best = t
    return best


@inlined
def chart(shape, parameter, x, y, z):  # type: ignore[no-untyped-def]
    """A point on a unit shape -> (face, a, b) with a, b in [-1, 1], and its outward normal in local axes."""
    if shape == _QUAD:
        return 0, x, -y, 0.0, 0.0, -1.0
    if shape == _BOX:
        ax, ay, az = abs(x), abs(y), abs(z)
        if ax >= ay and ax >= az:
            sign = 1.0 if x > 0 else -1.0
            return (0 if x > 0 else 1), sign * z, -y, sign, 0.0, 0.0
        if ay >= az:
            sign = 1.0 if y > 0 else -1.0
            return (2 if y > 0 else 3), x, -z, 0.0, sign, 0.0
        sign = 1.0 if z > 0 else -1.0
        return (4 if z > 0 else 5), -sign * x, -y, 0.0, 0.0, sign
    around = math.atan2(x, -z) * (2.0 * _HALF_TURN)
    if shape == _ELLIPSOID:
        return 0, around, -y, x, y, z
    if shape == _FRUSTUM:
        radial = x * x + z * z
        limit = 1.0 + (parameter - 1.0) * y
        if y > 1.0 - 1e-9 or (y > 0.5 and radial < limit * limit * (1.0 - 1e-9)):
            return 1, x, -z, 0.0, 1.0, 0.0
        if y < 1e-9 or radial < limit * limit * (1.0 - 1e-9):
            return 2, x, z, 0.0, -1.0, 0.0
        return 0, around, 1.0 - 2.0 * y, x, (1.0 - parameter) * limit, z
    nearest = min(max(y, 0.0), parameter)
    return 0, around, 1.0 - 2.0 * y / parameter, x, y - nearest, z


@inlined
def _texture(texels, first, u, v, texels_per_pixel):  # type: ignore[no-untyped-def]
    """Bilinear sample of the mip level whose texels are about a pixel wide; light, not screen values."""
    side = SIDE
    # Sharper by half a level than one texel a pixel: the lens blur comes later.
    while texels_per_pixel > 1.5 and side > 1:
        first += side * side
        side >>= 1
        texels_per_pixel *= 0.5
    mask = side - 1
    x, y = u * side - 0.5, v * side - 0.5
    x_floor, y_floor = math.floor(x), math.floor(y)
    fx, fy = x - x_floor, y - y_floor
    x0, y0 = int(x_floor) & mask, int(y_floor) & mask
    x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
    a, b = first + y0 * side + x0, first + y0 * side + x1
    c, d = first + y1 * side + x0, first + y1 * side + x1
    wa, wb, wc, wd = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
    red = wa * texels[a, 0] + wb * texels[b, 0] + wc * texels[c, 0] + wd * texels[d, 0]
    green = wa * texels[a, 1] + wb * texels[b, 1] + wc * texels[c, 1] + wd * texels[d, 1]
    blue = wa * texels[a, 2] + wb * texels[b, 2] + wc * texels[c, 2] + wd * texels[d, 2]
    scale = 1.0 / (255.0 * 255.0)
    return red * red * scale, green * green * scale, blue * blue * scale


@inlined
def _baked(light_map, first, side, a, b):  # type: ignore[no-untyped-def]
    """Bilinear sample of a light map: sky and three lights, 0..1."""
    x = min(max((a * 0.5 + 0.5) * side - 0.5, 0.0), side - 1.001)
    y = min(max((b * 0.5 + 0.5) * side - 0.5, 0.0), side - 1.001)
    x0, y0 = int(x), int(y)
    fx, fy = x - x0, (y - y0) * (1.0 / 255.0)
    p = first + y0 * side + x0
    q = p + side
    wa, wb, wc, wd = (1 - fx) * (1.0 / 255.0 - fy), fx * (1.0 / 255.0 - fy), (1 - fx) * fy, fx * fy
    return (
        wa * light_map[p, 0] + wb * light_map[p + 1, 0] + wc * light_map[q, 0] + wd * light_map[q + 1, 0],
        wa * light_map[p, 1] + wb * light_map[p + 1, 1] + wc * light_map[q, 1] + wd * light_map[q + 1, 1],
        wa * light_map[p, 2] + wb * light_map[p + 1, 2] + wc * light_map[q, 2] + wd * light_map[q + 1, 2],
        wa * light_map[p, 3] + wb * light_map[p + 1, 3] + wc * light_map[q, 3] + wd * light_map[q + 1, 3],
    )


@inlined
def _nearest_hit(eye, surfaces, tile, ox, oy, oz, dx, dy, dz, minimum, through_glass):  # type: ignore[no-untyped-def]
    """(solid, t) of the first hit among a tile's candidates; tile < 0 tries every solid."""
    best, best_t = -1, np.inf
    count = eye.candidate_counts[tile] if tile >= 0 else surfaces.codes.shape[0]
    for k in range(count):
        solid = eye.candidates[tile, k] if tile >= 0 else k
        if tile >= 0 and eye.nearest[solid] > best_t:
            break
        if through_glass and surfaces.codes[solid, OPTICS] == _GLASS:
            continue
        m = eye.to_local
        t = intersect(
            surfaces.codes[solid, SHAPE],
            surfaces.parameter[solid],
            m[solid, 0, 0] * ox + m[solid, 0, 1] * oy + m[solid, 0, 2] * oz + m[solid, 0, 3],
            m[solid, 1, 0] * ox + m[solid, 1, 1] * oy + m[solid, 1, 2] * oz + m[solid, 1, 3],
            m[solid, 2, 0] * ox + m[solid, 2, 1] * oy + m[solid, 2, 2] * oz + m[solid, 2, 3],
            m[solid, 0, 0] * dx + m[solid, 0, 1] * dy + m[solid, 0, 2] * dz,
            m[solid, 1, 0] * dx + m[solid, 1, 1] * dy + m[solid, 1, 2] * dz,
            m[solid, 2, 0] * dx + m[solid, 2, 1] * dy + m[solid, 2, 2] * dz,
            minimum,
        )
        if t < best_t:
            best, best_t = solid, t
    return best, best_t


@inlined
def _shade(eye, surfaces, solid, px, py, pz, vx, vy, vz, path):  # type: ignore[no-untyped-def]
    """Light that leaves point p towards -v (v: unit, from the eye) along `path` metres, and the normal
    there.
    """
    m, codes, numbers = eye.to_local, surfaces.codes, surfaces.numbers
    lx = m[solid, 0, 0] * px + m[solid, 0, 1] * py + m[solid, 0, 2] * pz + m[solid, 0, 3]
    ly = m[solid, 1, 0] * px + m[solid, 1, 1] * py + m[solid, 1, 2] * pz + m[solid, 1, 3]
    lz = m[solid, 2, 0] * px + m[solid, 2, 1] * py + m[solid, 2, 2] * pz + m[solid, 2, 3]
    face, a, b, nlx, nly, nlz = chart(codes[solid, SHAPE], surfaces.parameter[solid], lx, ly, lz)
    nx = m[solid, 0, 0] * nlx + m[solid, 1, 0] * nly + m[solid, 2, 0] * nlz
    ny = m[solid, 0, 1] * nlx + m[solid, 1, 1] * nly + m[solid, 2, 1] * nlz
    nz = m[solid, 0, 2] * nlx + m[solid, 1, 2] * nly + m[solid, 2, 2] * nlz
    scale = 1.0 / math.sqrt(nx * nx + ny * ny + nz * nz)
    facing = nx * vx + ny * vy + nz * vz
    if facing > 0.0:
        scale = -scale
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    facing = abs(facing * scale)

    red, green, blue = numbers[solid, RED], numbers[solid, GREEN], numbers[solid, BLUE]
    if codes[solid, TEXTURE] >= 0:
        across = numbers[solid, U_REPEATS]
        down = numbers[solid, V_REPEATS]
        if codes[solid, SHAPE] == _BOX:
            across = numbers[solid, W_REPEATS] if face < 2 else numbers[solid, U_REPEATS]
            down = numbers[solid, W_REPEATS] if face == 2 or face == 3 else numbers[solid, V_REPEATS]
        footprint = path / eye.optics[0] / math.sqrt(max(facing, 0.05)) * numbers[solid, TEXELS_PER_M]
        u = (a * 0.5 + 0.5) * across + numbers[solid, U_OFFSET]
        v = (b * 0.5 + 0.5) * down + numbers[solid, V_OFFSET]
        texture_red, texture_green, texture_blue = _texture(surfaces.texels, codes[solid, TEXTURE], u, v, footprint)
        red, green, blue = red * texture_red, green * texture_green, blue * texture_blue

    first, side = codes[solid, LIGHT_MAP], codes[solid, LIGHT_MAP_SIDE]
    if first >= 0:
        first += face * side * side
    sky, seen_0, seen_1, seen_2 = 0.85, 1.0, 1.0, 1.0
    if first >= 0:
        sky, seen_0, seen_1, seen_2 = _baked(surfaces.light_map, first, side, a, b)
    key = 1.0
    for k in range(eye.occluders.shape[0]):
        sky, key = _sphere_shadow(eye, k, px, py, pz, nx, ny, nz, sky, key)
    sky *= 0.72 + 0.28 * (nx * eye.ambient[3] + ny * eye.ambient[4] + nz * eye.ambient[5])
    light_red, light_green, light_blue = eye.ambient[0] * sky, eye.ambient[1] * sky, eye.ambient[2] * sky
    glint = 0.0
    for k in range(eye.lights.shape[0]):
        light = eye.lights
        tx, ty, tz = light[k, 0] - px, light[k, 1] - py, light[k, 2] - pz
        squared = tx * tx + ty * ty + tz * tz
        reach = 1.0 / math.sqrt(squared)
        cosine = (nx * tx + ny * ty + nz * tz) * reach
        if cosine <= 0.0:
            continue
        visible = key * seen_0 if k == 0 else (seen_1 if k == 1 else seen_2)
        strength = cosine * visible / (1.0 + squared)
        light_red += light[k, 3] * strength
        light_green += light[k, 4] * strength
        light_blue += light[k, 5] * strength
        if numbers[solid, SPECULAR] > 0.01:
            hx, hy, hz = tx * reach - vx, ty * reach - vy, tz * reach - vz
            half = (nx * hx + ny * hy + nz * hz) / math.sqrt(hx * hx + hy * hy + hz * hz)
            if half > 0.75:
                glint += (
                    numbers[solid, SPECULAR] * visible * light[k, 3] / (1.0 + squared) * half ** numbers[solid, GLOSS]
                )
    glow = numbers[solid, EMISSION]
    return (
        red * (light_red + glow) + glint,
        green * (light_green + glow) + glint,
        blue * (light_blue + glow) + glint,
        nx,
        ny,
        nz,
        facing,
    )


@inlined
def _sphere_shadow(eye, k, px, py, pz, nx, ny, nz, sky, key):  # type: ignore[no-untyped-def]
    """Sky and key light that a sphere leaves to a point outside it.

    Occlusion (n·d) r²/d² and the soft shadow's smooth edge after I. Quilez, "sphere occlusion" and "sphere
    soft shadow".
    """
    sphere = eye.occluders
    dx, dy, dz = sphere[k, 0] - px, sphere[k, 1] - py, sphere[k, 2] - pz
    squared = dx * dx + dy * dy + dz * dz
    radius_squared = sphere[k, 3] * sphere[k, 3]
    if squared <= radius_squared * 1.05 or squared > radius_squared * 400.0:
        return sky, key
    cosine = (nx * dx + ny * dy + nz * dz) / math.sqrt(squared)
    if cosine > 0.0:
        sky *= 1.0 - cosine * radius_squared / squared
    if eye.lights.shape[0] > 0:
        light = eye.lights
        tx, ty, tz = light[0, 0] - px, light[0, 1] - py, light[0, 2] - pz
        reach = 1.0 / math.sqrt(tx * tx + ty * ty + tz * tz)
        along = (dx * tx + dy * ty + dz * tz) * reach
        if along > 0.0:
            miss = math.sqrt(max(squared - along * along, 0.0)) - sphere[k, 3]
            # Half width of the penumbra: the lamp seems 0.1 wide.
            edge = min(max(0.5 + 0.5 * miss / (0.1 * along + 1e-6), 0.0), 1.0)
            key *= edge * edge * (3.0 - 2.0 * edge)
    return sky, key


@inlined
def _see(eye, surfaces, tile, dx, dy):  # type: ignore[no-untyped-def]
    """One primary ray (dx, dy, 1): colour, first depth, first opaque depth, object."""
    solid, t = _nearest_hit(eye, surfaces, tile, 0.0, 0.0, 0.0, dx, dy, 1.0, 0.01, False)
    if solid < 0:
        return 0.02, 0.02, 0.02, np.inf, np.inf, NOTHING
    stretch = math.sqrt(dx * dx + dy * dy + 1.0)
    vx, vy, vz = dx / stretch, dy / stretch, 1.0 / stretch
    red, green, blue, nx, ny, nz, facing = _shade(eye, surfaces, solid, dx * t, dy * t, t, vx, vy, vz, t)
    opaque_t = t
    optics = surfaces.codes[solid, OPTICS]
    numbers = surfaces.numbers
    if optics == _GLASS:
        behind, opaque_t = _nearest_hit(eye, surfaces, tile, 0.0, 0.0, 0.0, dx, dy, 1.0, 0.01, True)
        # Fresnel after Schlick (1994) with 4 % at right angles; a glass body has a front and a back, and seen
        # along its wall it is thick.
        fresnel = 0.04 + 0.96 * (1.0 - facing) ** 5
        kept = (1.0 - fresnel) * (1.0 - fresnel) * min(0.35 + facing, 1.0)
        back_red, back_green, back_blue = 0.02, 0.02, 0.02
        if behind >= 0:
            back_red, back_green, back_blue, _, _, _, _ = _shade(
                eye, surfaces, behind, dx * opaque_t, dy * opaque_t, opaque_t, vx, vy, vz, opaque_t
            )
        glint = max(red - numbers[solid, RED], 0.0)
        mirrored = 1.6 * fresnel * eye.ambient[1]
        red = back_red * numbers[solid, RED] * kept + mirrored + glint
        green = back_green * numbers[solid, GREEN] * kept + mirrored + glint
        blue = back_blue * numbers[solid, BLUE] * kept + mirrored + glint
    elif optics == _MIRROR:
        along = 2.0 * (vx * nx + vy * ny + vz * nz)
        rx, ry, rz = vx - along * nx, vy - along * ny, vz - along * nz
        x, y, z = dx * t, dy * t, t
        other, far = _nearest_hit(eye, surfaces, -1, x, y, z, rx, ry, rz, 1e-4, False)
        if other >= 0:
            other_red, other_green, other_blue, _, _, _, _ = _shade(
                eye, surfaces, other, x + rx * far, y + ry * far, z + rz * far, rx, ry, rz, t + far
            )
            share = numbers[solid, REFLECTIVITY]
            share += (1.0 - share) * (1.0 - facing) ** 5
            red = (1.0 - share) * red + share * other_red
            green = (1.0 - share) * green + share * other_green
            blue = (1.0 - share) * blue + share * other_blue
    return red, green, blue, t, opaque_t, np.uint8(surfaces.codes[solid, OBJECT])


@compiled
def cast(eye, surfaces, images, tile_row_start, tile_row_end):  # type: ignore[no-untyped-def]
    """Casts one ray through the centre of each pixel of these rows of tiles."""
    height, width = images.depth_m.shape
    tiles_across = (width + TILE - 1) // TILE
    fx, fy, cx, cy = eye.optics[0], eye.optics[1], eye.optics[2], eye.optics[3]
    for tile_row in range(tile_row_start, tile_row_end):
        for tile_column in range(tiles_across):
            tile = tile_row * tiles_across + tile_column
            for row in range(tile_row * TILE, min((tile_row + 1) * TILE, height)):
                dy = (row - cy) / fy
                for column in range(tile_column * TILE, min((tile_column + 1) * TILE, width)):
                    red, green, blue, t, opaque_t, label = _see(eye, surfaces, tile, (column - cx) / fx, dy)
                    images.radiance[row, column, 0] = blue
                    images.radiance[row, column, 1] = green
                    images.radiance[row, column, 2] = red
                    images.depth_m[row, column] = t
                    images.opaque_depth_m[row, column] = opaque_t
                    images.objects[row, column] = label


@compiled
def list_candidates(order, bounds, tiles_across, candidates, counts):  # type: ignore[no-untyped-def]
    """Writes each solid of `order` into the list of every tile that its bounds (left, top, right, bottom
    tile) cover.
    """
    counts[:] = 0
    for solid in order:
        left, top, right, bottom = bounds[solid]
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                tile = row * tiles_across + column
                candidates[tile, counts[tile]] = solid
                counts[tile] += 1


@compiled
def random_bits(key):  # type: ignore[no-untyped-def]
    """splitmix64 (Steele, Lea, Flood 2014): 64 bits that depend on nothing but the key."""
    key = (key + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(0xFFFFFFFFFFFFFFFF)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@compiled
def develop(radiance, picture, exposure, noise_levels, vignetting, key, row_start, row_end):  # type: ignore[no-untyped-def]
    """Light -> 8-bit BGR as a sensor gives it: lens blur over the four neighbours, vignetting, gamma 2,
    noise.

    noise_levels is the noise's standard deviation in grey levels (after gamma, where photon noise is nearly
    even).
    """
    height, width = radiance.shape[:2]
    reach = 1.0 / (width * width + height * height)
    low_bits = np.uint64(1023)
    # Two 10-bit numbers summed have this standard deviation.
    unit = noise_levels / (1024.0 * math.sqrt(2.0 / 12.0))
    for row in range(row_start, row_end):
        up, down = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(width):
            left, right = max(column - 1, 0), min(column + 1, width - 1)
            off_x, off_y = 2.0 * column - width, 2.0 * row - height
            gain = exposure * (1.0 - vignetting * (off_x * off_x + off_y * off_y) * reach)
            bits = random_bits(key + np.uint64(row * width + column))
            for channel in range(3):
                light = 0.56 * radiance[row, column, channel] + 0.11 * (
                    radiance[up, column, channel]
                    + radiance[down, column, channel]
                    + radiance[row, left, channel]
                    + radiance[row, right, channel]
                )
                first, second = bits & low_bits, (bits >> np.uint64(10)) & low_bits
                bits >>= np.uint64(20)
                noise = (np.int64(first) + np.int64(second) - 1023) * unit
                value = 255.0 * math.sqrt(max(light * gain, 0.0)) + noise + 0.5
                picture[row, column, channel] = np.uint8(min(max(value, 0.0), 255.0))
