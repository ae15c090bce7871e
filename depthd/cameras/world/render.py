"""Takes a scene's picture: packs it for the ray caster once, then moves, culls, casts and develops every
frame.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthd.cameras.world import raycast
from depthd.cameras.world.bake import bake
from depthd.cameras.world.kept import kept_or_made
from depthd.cameras.world.solids import (
    Matrix,
    Pose,
    Scene,
    Shape,
    Solid,
    pitched,
    rolled,
    translation,
    yawed,
)
from depthd.cameras.world.textures import SIDE, pyramid
from depthd.frame import Camera

NEAR_PLANE_M = 0.01
VIGNETTING = 0.28
LEAST_SHADING_RADIUS_M = 0.025
"""Moving solids that are thinner cast no shadow: nobody would see it, and every pixel would pay."""
_WORLD_TO_OPTICAL = np.diag([1.0, -1.0, 1.0, 1.0])
_LOCAL_BOUNDS = {
    Shape.QUAD: ((-1, -1, 0), (1, 1, 0)),
    Shape.BOX: ((-1, -1, -1), (1, 1, 1)),
    Shape.ELLIPSOID: ((-1, -1, -1), (1, 1, 1)),
}
_EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4))


class Renderer:
    """Casts one scene for one camera. Deterministic in (scene, seed, seconds, frame index); thread pool of
    its own, so that neither Numba's nor OpenMP's process-wide pools are touched (those break when a process
    forks).
    """

    def __init__(
        self, scene: Scene, camera: Camera, seed: int, threads: int | None = None, kept: Path | None = None
    ) -> None:
        """kept: a file of `kept.file_of` for this scene and seed, or None: bake it anew."""
        if len(scene.solids) > 2**15 - 1:
            raise ValueError("a scene has at most 32767 solids")
        self.scene = scene
        self.camera = camera
        self.seed = seed
        self.names = sorted({solid.name for solid in scene.solids})
        self._rest_frames = np.array([solid.frame for solid in scene.solids])
        self._rest_inverse = np.linalg.inv(self._rest_frames)
        self._moving = [index for index, solid in enumerate(scene.solids) if solid.motion is not None]
        self._corners = np.array([local_corners(solid) for solid in scene.solids])
        self._shading = [
            index
            for index in self._moving
            if shading_sphere(self._rest_frames[index], self._corners[index])[3] >= LEAST_SHADING_RADIUS_M
        ]
        height, width = camera.height, camera.width
        self._tiles = (-(-height // raycast.TILE), -(-width // raycast.TILE))
        self.left, self.right = (_empty_images(height, width) for _ in range(2))
        count = self._tiles[0] * self._tiles[1]
        self._candidates = np.empty((2, count, len(scene.solids)), np.int16)
        self._counts = np.empty((2, count), np.int32)
        self._threads = threads or min(os.cpu_count() or 1, 8)
        self._pool = ThreadPoolExecutor(self._threads, "virtual-camera")
        self._surfaces = kept_or_made(kept, self._make_surfaces) if kept else self._make_surfaces()

    def close(self) -> None:
        self._pool.shutdown()

    def object_id(self, name: str) -> int:
        """The value in the object planes of everything that has this name."""
        return self.names.index(name)

    def render(
        self, seconds: float, frame_index: int, left_bgr: NDArray[np.uint8], right_bgr: NDArray[np.uint8]
    ) -> None:
        """Fills both pictures (height, width, 3), and `left` and `right` with depth and objects."""
        frames, inverse = self._frames_at(seconds)
        eyes = [self._eye(side, seconds, frames, inverse) for side in (0, 1)]
        bands = [
            partial(raycast.cast, eye, self._surfaces, images, start, end)
            for eye, images in zip(eyes, (self.left, self.right), strict=True)
            for start, end in self._bands(self._tiles[0])
        ]
        self._run(bands)
        exposure = self.scene.exposure(seconds)
        self._run(
            partial(
                raycast.develop,
                images.radiance,
                picture,
                exposure,
                self.scene.noise_levels,
                VIGNETTING,
                _noise_key(self.seed, frame_index, side),
                start,
                end,
            )
            for side, (images, picture) in enumerate(((self.left, left_bgr), (self.right, right_bgr)))
            for start, end in self._bands(self.camera.height)
        )

    def _make_surfaces(self) -> raycast.Surfaces:
        spheres = np.array([ball(frame, box) for frame, box in zip(self._rest_frames, self._corners, strict=True)])
        world_to_local = np.ascontiguousarray(self._rest_inverse[:, :3])
        layout, light_map = bake(self.scene, world_to_local, spheres, self.seed, self._run)
        return pack_surfaces(self.scene, self.names, self.seed, layout, light_map, self._pool)

    def _run(self, jobs: Iterable[Callable[[], None]]) -> None:
        for future in [self._pool.submit(job) for job in jobs]:
            future.result()

    def _bands(self, rows: int) -> list[tuple[int, int]]:
        """A few bands for each thread, since some hold more solids than others."""
        edges = np.linspace(0, rows, min(4 * self._threads, rows) + 1).astype(int).tolist()
        return list(itertools.pairwise(edges))

    def _frames_at(self, seconds: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not self._moving:
            return self._rest_frames, self._rest_inverse
        frames, inverse = self._rest_frames.copy(), self._rest_inverse.copy()
        for index in self._moving:
            motion = self.scene.solids[index].motion
            assert motion is not None
            frames[index] = motion(seconds) @ frames[index]
            inverse[index] = np.linalg.inv(frames[index])
        return frames, inverse

    def _eye(self, side: int, seconds: float, frames: NDArray[np.float64], inverse: NDArray[np.float64]) -> raycast.Eye:
        camera, scene = self.camera, self.scene
        to_world = optical_to_world(scene.camera_pose(seconds)) @ translation(side * camera.baseline_m, 0, 0)
        to_eye = np.linalg.inv(to_world)
        centre_x = camera.cx + side * camera.doffs_px
        bounds, nearest = self._tile_bounds(to_eye @ frames, centre_x)
        raycast.list_candidates(
            np.argsort(nearest, kind="stable"),
            bounds,
            self._tiles[1],
            self._candidates[side],
            self._counts[side],
        )
        lights = np.zeros((len(scene.lights), 6))
        for row, light in zip(lights, scene.lights, strict=True):
            row[:3] = (to_eye @ (*light.position, 1.0))[:3]
            row[3:] = np.multiply(light.colour, light.power)
        occluders = np.zeros((len(self._shading), 4))
        for row, index in zip(occluders, self._shading, strict=True):
            row[:] = shading_sphere(to_eye @ frames[index], self._corners[index])
        return raycast.Eye(
            to_local=np.ascontiguousarray((inverse @ to_world)[:, :3]),
            nearest=nearest,
            candidates=self._candidates[side],
            candidate_counts=self._counts[side],
            lights=lights,
            occluders=occluders,
            ambient=np.array([*scene.ambient, *to_eye[:3, 1]]),
            optics=np.array([camera.fx, camera.fy, centre_x, camera.cy]),
        )

    def _tile_bounds(
        self, to_eye: NDArray[np.float64], centre_x: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(n, 4) tiles left, top, right, bottom of each solid's bounding box (right < left where unseen),
        (n,) least depth.
        """
        camera = self.camera
        corners = self._corners @ np.swapaxes(to_eye[:, :3, :3], 1, 2) + to_eye[:, None, :3, 3]
        starts, ends = (corners[:, [edge[k] for edge in _EDGES]] for k in (0, 1))
        crossing = (starts[..., 2] < NEAR_PLANE_M) != (ends[..., 2] < NEAR_PLANE_M)
        rise = np.where(crossing, ends[..., 2] - starts[..., 2], 1.0)
        at = (NEAR_PLANE_M - starts[..., 2]) / rise
        points = np.concatenate([corners, starts + at[..., None] * (ends - starts)], 1)
        seen = np.concatenate([corners[..., 2] >= NEAR_PLANE_M, crossing], 1)
        depth = np.where(seen, np.maximum(points[..., 2], NEAR_PLANE_M), 1.0)
        columns = points[..., 0] / depth * camera.fx + centre_x
        rows = points[..., 1] / depth * camera.fy + camera.cy
        bounds = np.empty((len(corners), 4))
        for k, (values, size) in enumerate(((columns, camera.width), (rows, camera.height))):
            low = np.where(seen, values, np.inf).min(1)
            high = np.where(seen, values, -np.inf).max(1)
            bounds[:, k] = np.clip(low - 1, 0, size)
            bounds[:, k + 2] = np.clip(high + 1, -1, size - 1)
        nearest = np.where(seen, points[..., 2], np.inf).min(1)
        return np.floor_divide(bounds, raycast.TILE).astype(np.int64), nearest


def ball(frame: Matrix, corners: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Centre and radius of a sphere that holds the whole solid."""
    points = corners @ frame[:3, :3].T + frame[:3, 3]
    centre = points.mean(0)
    return (*centre.tolist(), float(np.linalg.norm(points - centre, axis=1).max()))


def shading_sphere(frame: Matrix, corners: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Centre, and as radius the middle one of the half extents, so that a rod casts no ball's shadow."""
    centre = frame @ (*corners.mean(0), 1.0)
    extents = np.linalg.norm(frame[:3, :3] * np.ptp(corners, axis=0) / 2, axis=0)
    return (*centre[:3].tolist(), float(np.sort(extents)[1]))


def optical_to_world(pose: Pose) -> Matrix:
    """The left eye's axes (x right, y down, z forward) -> the world's (x right, y up, z forward)."""
    turned: Matrix = yawed(pose.yaw) @ pitched(pose.pitch) @ rolled(pose.roll)
    return translation(*pose.position) @ turned @ _WORLD_TO_OPTICAL


def local_corners(solid: Solid) -> NDArray[np.float64]:
    """(8, 3): the corners of the unit shape's bounding box."""
    if solid.shape == Shape.FRUSTUM:
        widest = max(1.0, solid.parameter)
        low, high = (-widest, 0.0, -widest), (widest, 1.0, widest)
    elif solid.shape == Shape.CAPSULE:
        low, high = (-1.0, -1.0, -1.0), (1.0, solid.parameter + 1.0, 1.0)
    else:
        low, high = _LOCAL_BOUNDS[solid.shape]
    return np.array([[(low, high)[corner >> axis & 1][axis] for axis in range(3)] for corner in range(8)], float)


def pack_surfaces(
    scene: Scene,
    names: list[str],
    seed: int,
    layout: NDArray[np.int64],
    light_map: NDArray[np.uint8],
    pool: ThreadPoolExecutor,
) -> raycast.Surfaces:
    """Materials and textures in the arrays that the ray caster reads."""
    solids = scene.solids
    codes = np.full((len(solids), raycast.CODES), -1, np.int64)
    codes[:, raycast.LIGHT_MAP : raycast.LIGHT_MAP_SIDE + 1] = layout
    numbers = np.zeros((len(solids), raycast.NUMBERS))
    first_texel, texels = _all_textures(solids, seed, pool)
    offsets = np.random.default_rng(seed).random((len(solids), 2))
    for index, solid in enumerate(solids):
        material = solid.material
        codes[index, raycast.SHAPE] = solid.shape
        codes[index, raycast.OPTICS] = material.optics
        codes[index, raycast.OBJECT] = names.index(solid.name)
        numbers[index, raycast.RED : raycast.BLUE + 1] = np.square(material.colour)
        numbers[index, raycast.SPECULAR : raycast.EMISSION + 1] = (
            material.specular,
            material.gloss,
            material.reflectivity,
            material.emission,
        )
        if material.texture is None:
            continue
        codes[index, raycast.TEXTURE] = first_texel[material.texture]
        sizes = np.array(solid.size_m)
        if material.tile_m > 0:
            numbers[index, raycast.U_REPEATS : raycast.W_REPEATS + 1] = sizes / material.tile_m
            numbers[index, raycast.U_OFFSET : raycast.V_OFFSET + 1] = offsets[index]
            numbers[index, raycast.TEXELS_PER_M] = SIDE / material.tile_m
        else:
            numbers[index, raycast.U_REPEATS : raycast.W_REPEATS + 1] = 1.0
            numbers[index, raycast.TEXELS_PER_M] = SIDE / np.sqrt(np.prod(np.sort(sizes)[1:]))
    parameter = np.array([solid.parameter for solid in solids])
    return raycast.Surfaces(codes, numbers, parameter, texels, light_map)


def _all_textures(
    solids: tuple[Solid, ...], seed: int, pool: ThreadPoolExecutor
) -> tuple[dict[str, int], NDArray[np.uint8]]:
    """Where each texture that is used begins, and all their texels."""
    names = sorted({solid.material.texture for solid in solids if solid.material.texture})
    pyramids = [np.zeros((0, 4), np.uint8), *pool.map(lambda name: pyramid(name, seed), names)]
    starts = np.cumsum([len(texels) for texels in pyramids]).tolist()
    return dict(zip(names, starts, strict=False)), np.concatenate([*pyramids, np.zeros((1, 4), np.uint8)])


def _empty_images(height: int, width: int) -> raycast.Images:
    size = (height, width)
    return raycast.Images(
        np.zeros((*size, 3), np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.uint8),
    )


def _noise_key(seed: int, frame_index: int, side: int) -> np.uint64:
    return np.random.SeedSequence([seed, frame_index, side]).generate_state(1, np.uint64)[0]
