"""Light that does not change, computed once: how much sky and how much of each lamp every patch of a flat
surface sees.

Soft shadows and darkened corners are what makes a picture look like a room, to people and to networks; traced
per frame they would take a hundred times the time of everything else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from depthd.cameras.compiled import compiled
from depthd.cameras.world.raycast import intersect, random_bits
from depthd.cameras.world.solids import Optics, Scene, Shape, Solid

PATCH_M = 0.07
LEAST_SIDE, LARGEST_SIDE = 4, 64
FINE_PATCH_M, FINE_SIDE = 0.028, 72
"""For surfaces on which small things stand."""
SKY_RAYS = 20
LAMP_RAYS = 5
REACH_M = 1.1
"""What is farther does not darken: in a closed room all would."""
LAMPS = 3

Runner = Callable[[Iterable[Callable[[], None]]], None]


def light_map_side(solid: Solid) -> int:
    """Patches along each side of this solid's faces; 0 for solids that have no light map."""
    if solid.motion is not None or solid.shape not in (Shape.QUAD, Shape.BOX):
        return 0
    shorter, longer = sorted(solid.size_m)[1:]
    size = math.sqrt(shorter * longer)
    if solid.name in ("table", "floor") and shorter > 0.3:
        return int(np.clip(size / FINE_PATCH_M, LEAST_SIDE, FINE_SIDE))
    return int(np.clip(size / PATCH_M, LEAST_SIDE, LARGEST_SIDE))


def bake(
    scene: Scene, to_local: NDArray[np.float64], spheres: NDArray[np.float64], seed: int, run: Runner
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Light maps of all still, flat solids.

    to_local: (n, 3, 4) world -> local; spheres: (n, 4) bounding spheres in the world; `run` executes jobs in
    parallel. Returns (n, 2) first patch (-1: none) and side of each solid, and the patches as
    raycast.Surfaces.light_map.
    """
    solids = scene.solids
    layout = np.full((len(solids), 2), -1, np.int64)
    total = 0
    for index, solid in enumerate(solids):
        side = light_map_side(solid)
        if side:
            layout[index] = total, side
            total += side * side * _faces(solid)
    patches = np.full((max(total, 1), 4), 255, np.uint8)
    blocking = np.array(
        [
            index
            for index, solid in enumerate(solids)
            if solid.motion is None and solid.material.optics != Optics.GLASS and solid.material.emission < 1
        ],
        np.int64,
    )
    lamps = np.array([(*light.position, light.radius_m) for light in scene.lights[:LAMPS]]).reshape(-1, 4)
    shapes = np.array([solid.shape for solid in solids], np.int64)
    parameters = np.array([solid.parameter for solid in solids])
    frames = np.array([solid.frame for solid in solids])

    def job(index: int) -> Callable[[], None]:
        first, side = layout[index].tolist()
        box = solids[index].shape == Shape.BOX
        gaps = np.linalg.norm(spheres[blocking, :3] - spheres[index, :3], axis=1) - spheres[blocking, 3]
        near = blocking[gaps < spheres[index, 3] + REACH_M]
        arrays = (shapes, parameters, to_local, spheres, near, blocking, lamps, patches)
        return lambda: _bake_solid(frames[index], index, box, first, side, *arrays, np.uint64(seed))

    run(job(index) for index in range(len(solids)) if layout[index, 0] >= 0)
    return layout, patches


def _faces(solid: Solid) -> int:
    return 6 if solid.shape == Shape.BOX else 1


@compiled
def _blocked(shapes, parameters, to_local, spheres, blocking, ox, oy, oz, dx, dy, dz, reach):  # type: ignore[no-untyped-def]
    """Distance to the first blocking solid along a unit ray, or infinity beyond `reach`."""
    best = np.inf
    for solid in blocking:
        # Most solids are far from most rays, which their bounding spheres tell for a few multiplications.
        cx, cy, cz = spheres[solid, 0] - ox, spheres[solid, 1] - oy, spheres[solid, 2] - oz
        along = cx * dx + cy * dy + cz * dz
        radius = spheres[solid, 3]
        if along < -radius or along - radius > reach:
            continue
        if cx * cx + cy * cy + cz * cz - along * along > radius * radius:
            continue
        m = to_local[solid]
        t = intersect(
            shapes[solid],
            parameters[solid],
            m[0, 0] * ox + m[0, 1] * oy + m[0, 2] * oz + m[0, 3],
            m[1, 0] * ox + m[1, 1] * oy + m[1, 2] * oz + m[1, 3],
            m[2, 0] * ox + m[2, 1] * oy + m[2, 2] * oz + m[2, 3],
            m[0, 0] * dx + m[0, 1] * dy + m[0, 2] * dz,
            m[1, 0] * dx + m[1, 1] * dy + m[1, 2] * dz,
            m[2, 0] * dx + m[2, 1] * dy + m[2, 2] * dz,
            1e-4,
        )
        best = min(best, t)
    return best if best < reach else np.inf


@compiled
def _bake_solid(  # type: ignore[no-untyped-def]
    frame,
    index,
    box,
    first,
    side,
    shapes,
    parameters,
    to_local,
    spheres,
    near,
    blocking,
    lamps,
    patches,
    seed,
):
    for face in range(6 if box else 1):
        sign = 1.0 if face % 2 == 0 else -1.0
        for row in range(side):
            for column in range(side):
                a, b = (column + 0.5) / side * 2.0 - 1.0, (row + 0.5) / side * 2.0 - 1.0
                # The inverse of raycast.chart.
                lx, ly, lz, nx, ny, nz = a, -b, 0.0, 0.0, 0.0, -1.0
                if box and face < 2:
                    lx, ly, lz, nx, ny, nz = sign, -b, sign * a, sign, 0.0, 0.0
                elif box and face < 4:
                    lx, ly, lz, nx, ny, nz = a, sign, -b, 0.0, sign, 0.0
                elif box:
                    lx, ly, lz, nx, ny, nz = -sign * a, -b, sign, 0.0, 0.0, sign
                px = frame[0, 0] * lx + frame[0, 1] * ly + frame[0, 2] * lz + frame[0, 3]
                py = frame[1, 0] * lx + frame[1, 1] * ly + frame[1, 2] * lz + frame[1, 3]
                pz = frame[2, 0] * lx + frame[2, 1] * ly + frame[2, 2] * lz + frame[2, 3]
                m = to_local[index]
                wx = m[0, 0] * nx + m[1, 0] * ny + m[2, 0] * nz
                wy = m[0, 1] * nx + m[1, 1] * ny + m[2, 1] * nz
                wz = m[0, 2] * nx + m[1, 2] * ny + m[2, 2] * nz
                scale = 1.0 / math.sqrt(wx * wx + wy * wy + wz * wz)
                wx, wy, wz = wx * scale, wy * scale, wz * scale
                px, py, pz = px + 2e-3 * wx, py + 2e-3 * wy, pz + 2e-3 * wz
                patch = first + (face * side + row) * side + column
                turn = random_bits(seed ^ np.uint64(patch)) * (2.0 * math.pi / 2.0**64)
                world = (shapes, parameters, to_local, spheres, blocking)
                around = (shapes, parameters, to_local, spheres, near)
                patches[patch, 0] = _share(_open_sky(around, px, py, pz, wx, wy, wz, turn))
                for lamp in range(lamps.shape[0]):
                    patches[patch, lamp + 1] = _share(_lamp_seen(world, px, py, pz, lamps, lamp, turn))


@compiled
def _share(value):  # type: ignore[no-untyped-def]
    return np.uint8(min(max(value, 0.0), 1.0) * 255.0 + 0.5)


@compiled
def _open_sky(world, px, py, pz, nx, ny, nz, turn):  # type: ignore[no-untyped-def]
    """Share of directions, weighted by the cosine, in which nothing is near; near things count more."""
    shapes, parameters, to_local, spheres, blocking = world
    # Two tangents after Duff et al., "Building an orthonormal basis, revisited", 2017.
    sign = 1.0 if nz >= 0.0 else -1.0
    p = -1.0 / (sign + nz)
    q = nx * ny * p
    ux, uy, uz = 1.0 + sign * nx * nx * p, sign * q, -sign * nx
    vx, vy, vz = q, sign + ny * ny * p, -ny
    closed = 0.0
    for k in range(SKY_RAYS):
        # A spiral of equal areas on the disc, lifted to the half sphere (Malley's method).
        radius = math.sqrt((k + 0.5) / SKY_RAYS)
        angle = turn + 2.399963229728653 * k
        x, y, z = radius * math.cos(angle), radius * math.sin(angle), math.sqrt(1.0 - radius * radius)
        dx, dy, dz = x * ux + y * vx + z * nx, x * uy + y * vy + z * ny, x * uz + y * vz + z * nz
        t = _blocked(shapes, parameters, to_local, spheres, blocking, px, py, pz, dx, dy, dz, REACH_M)
        if t < REACH_M:
            closed += (1.0 - t / REACH_M) ** 0.8
    return 1.0 - 0.92 * closed / SKY_RAYS


@compiled
def _lamp_seen(world, px, py, pz, lamps, lamp, turn):  # type: ignore[no-untyped-def]
    """Share of a round lamp that nothing hides."""
    shapes, parameters, to_local, spheres, blocking = world
    seen = 0
    for k in range(LAMP_RAYS):
        height = (2 * k + 1.0) / LAMP_RAYS - 1.0
        ring = math.sqrt(1.0 - height * height) * lamps[lamp, 3]
        angle = turn + 2.399963229728653 * k
        dx = lamps[lamp, 0] + ring * math.cos(angle) - px
        dy = lamps[lamp, 1] + height * lamps[lamp, 3] - py
        dz = lamps[lamp, 2] + ring * math.sin(angle) - pz
        distance = math.sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx / distance, dy / distance, dz / distance
        t = _blocked(shapes, parameters, to_local, spheres, blocking, px, py, pz, dx, dy, dz, distance)
        if t == np.inf:
            seen += 1
    return seen / LAMP_RAYS
