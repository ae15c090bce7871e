"""The CUDA fusion against the specification, on fresh random frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fakes.frames import parameters_for, random_frame

from depthd.config import FusionConfig
from depthd.frame import FitStatus, FusedPlanes, Source
from depthd.fusion.parameters import MonoKind
from depthd.fusion.reference import ReferenceFusion

pytestmark = pytest.mark.gpu
SIZES = [(1280, 720), (640, 360), (641, 479), (333, 207), (97, 61), (37, 23), (1920, 1080)]
DEPTH_TOLERANCE, LABEL_TOLERANCE = 1e-5, 1e-4


@pytest.fixture
def rng() -> np.random.Generator:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    return np.random.default_rng(seed)


def poisoned(width: int, height: int) -> FusedPlanes:
    """Planes whose every value is one that no fusion writes."""
    planes = FusedPlanes.empty(height, width)
    planes.depth_m.fill(-123.0)
    planes.source.fill(99)
    planes.sigma.fill(-1.0)
    return planes


def assert_alike(planes: FusedPlanes, wanted: FusedPlanes) -> None:
    assert not (planes.depth_m == -123.0).any()
    assert not (planes.source == 99).any()
    assert not (planes.sigma == -1.0).any()
    different = planes.source != wanted.source
    assert different.mean() <= LABEL_TOLERANCE, f"{different.sum()} labels differ"
    both = np.isfinite(planes.depth_m) & np.isfinite(wanted.depth_m) & ~different
    assert np.array_equal(np.isnan(planes.depth_m[~different]), np.isnan(wanted.depth_m[~different]))
    error = np.abs(planes.depth_m[both] / wanted.depth_m[both] - 1.0).max(initial=0.0)
    assert error <= DEPTH_TOLERANCE, f"depth differs by {error:.2e}"
    stereo = (planes.source == Source.STEREO) & ~different
    assert np.array_equal(planes.depth_m[stereo].view(np.uint32), wanted.depth_m[stereo].view(np.uint32))
    sigma, wanted_sigma = planes.sigma[both].astype(float), wanted.sigma[both].astype(float)
    assert np.allclose(sigma, wanted_sigma, rtol=2e-3)


@pytest.mark.parametrize("kind", list(MonoKind))
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_depth_and_labels_are_the_specifications(
    cupy: Any, rng: np.random.Generator, size: tuple[int, int], kind: MonoKind
) -> None:
    from depthd.fusion.cuda import CudaFusion

    if size[0] * size[1] > 500_000 and kind is not MonoKind.RELATIVE_INVERSE:
        pytest.skip("large frames are compared for one kind")
    p = parameters_for(*size, kind)
    cuda, reference = CudaFusion(p), ReferenceFusion(p)
    for _ in range(3):
        stereo, mono = random_frame(rng, *size, kind)
        planes, wanted = poisoned(*size), poisoned(*size)
        result, expected = cuda.fuse(stereo, mono, planes), reference.fuse(stereo, mono, wanted)
        assert result.fit.status is expected.fit.status
        assert result.fit.sample_count == expected.fit.sample_count
        assert_alike(planes, wanted)
        counted = tuple(int(n) for n in np.bincount(planes.source.ravel(), minlength=len(Source)))
        assert result.pixels_per_source == counted
        assert np.isclose(result.fit.scale, expected.fit.scale, rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("size", [(16383, 1), (8191, 3), (1000, 1)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_pictures_of_a_few_rows_are_fused_too(cupy: Any, rng: np.random.Generator, size: tuple[int, int]) -> None:
    from depthd.fusion.cuda import CudaFusion

    p = parameters_for(*size)
    cuda, reference = CudaFusion(p), ReferenceFusion(p)
    for _ in range(2):
        stereo, mono = random_frame(rng, *size)
        planes, wanted = poisoned(*size), poisoned(*size)
        assert cuda.fuse(stereo, mono, planes).fit.status is reference.fuse(stereo, mono, wanted).fit.status
        assert_alike(planes, wanted)


def test_a_grid_without_a_cluster_gives_the_same(
    cupy: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU before Hopper."""
    from depthd.fusion import cuda

    monkeypatch.setattr(cuda, "_load", lambda cupy, p: cuda._Kernels(cupy, p, cluster=False))
    for size in ((641, 479), (97, 61), (1280, 720)):
        p = parameters_for(*size)
        grid, reference = cuda.CudaFusion(p), ReferenceFusion(p)
        assert not grid.is_cluster
        for _ in range(3):
            stereo, mono = random_frame(rng, *size)
            planes, wanted = poisoned(*size), poisoned(*size)
            assert grid.fuse(stereo, mono, planes).fit.status is reference.fuse(stereo, mono, wanted).fit.status
            assert_alike(planes, wanted)


def test_the_same_frames_give_the_same_bits(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    frames = [random_frame(rng, 640, 360) for _ in range(3)]
    runs = []
    for _ in range(3):
        fusion, bits = CudaFusion(parameters_for(640, 360)), b""
        for stereo, mono in frames:
            planes = poisoned(640, 360)
            fusion.fuse(stereo, mono, planes)
            bits += planes.depth_m.tobytes() + planes.source.tobytes() + planes.sigma.tobytes()
        runs.append(bits)
    assert runs[0] == runs[1] == runs[2]


def test_arrays_on_the_device_give_what_arrays_on_the_host_give(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    on_host, on_device = CudaFusion(parameters_for(640, 360)), CudaFusion(parameters_for(640, 360))
    there = FusedPlanes(
        cupy.empty((360, 640), np.float32),
        cupy.empty((360, 640), np.uint8),
        cupy.empty((360, 640), np.float16),
    )
    stereo_there, mono_there = cupy.empty((360, 640), np.float32), cupy.empty((252, 448), np.float32)
    for _ in range(4):
        stereo, mono = random_frame(rng, 640, 360)
        here = poisoned(640, 360)
        expected = on_host.fuse(stereo, mono, here)
        stereo_there.set(stereo)
        mono_there.set(mono)
        assert on_device.fuse(stereo_there, mono_there, there) == expected
        assert here.depth_m.tobytes() == there.depth_m.get().tobytes()
        assert here.sigma.tobytes() == there.sigma.get().tobytes()


def test_a_frame_without_stereo_holds_the_last_fit_and_then_gives_up(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    p = parameters_for(320, 180, config=FusionConfig(maximum_age_frames=2))
    cuda, reference = CudaFusion(p), ReferenceFusion(p)
    stereo, mono = random_frame(rng, 320, 180)
    blind = np.full_like(stereo, np.nan)
    statuses = []
    for depth in (stereo, blind, blind, blind, stereo):
        planes, wanted = poisoned(320, 180), poisoned(320, 180)
        result, expected = cuda.fuse(depth, mono, planes), reference.fuse(depth, mono, wanted)
        assert result.fit.age_frames == expected.fit.age_frames
        assert_alike(planes, wanted)
        statuses.append(result.fit.status)
    held = FitStatus.HELD
    assert statuses == [FitStatus.FITTED, held, held, FitStatus.UNFIT, FitStatus.FITTED]


def test_a_cut_scene_is_forgotten_as_the_specification_forgets_it(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    p = parameters_for(320, 180)
    cuda, reference = CudaFusion(p), ReferenceFusion(p)
    for scale in (1.0, 1.0, 4.0, 4.0):
        stereo, mono = random_frame(rng, 320, 180)
        planes, wanted = poisoned(320, 180), poisoned(320, 180)
        cuda.fuse(stereo, mono * scale, planes)
        reference.fuse(stereo, mono * scale, wanted)
        assert_alike(planes, wanted)


@pytest.mark.parametrize("on_device", [False, True], ids=["on the host", "on the device"])
def test_the_mono_maps_size_changes_while_running(cupy: Any, rng: np.random.Generator, on_device: bool) -> None:
    """Bigger, smaller and back: no map is mixed with one of another size, and no graph takes one for another."""
    from depthd.fusion.cuda import CudaFusion

    size = (641, 359)
    p = parameters_for(*size)
    cuda, reference = CudaFusion(p), ReferenceFusion(p)
    stereo, mono = random_frame(rng, *size)
    for step in (2, 2, 1, 1, 3, 3, 2, 1):
        noisy = mono * rng.normal(1.0, 0.01, mono.shape)
        seen = np.ascontiguousarray(noisy[::step, ::step], np.float32)
        planes, wanted = poisoned(*size), poisoned(*size)
        there = (cupy.asarray(stereo), cupy.asarray(seen)) if on_device else (stereo, seen)
        result, expected = cuda.fuse(*there, planes), reference.fuse(stereo, seen, wanted)
        assert result.fit.status is expected.fit.status is FitStatus.FITTED
        assert result.fit.sample_count == expected.fit.sample_count
        assert_alike(planes, wanted)


def test_thresholds_change_without_another_program(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    stereo, mono = random_frame(rng, 320, 180)
    strict = parameters_for(320, 180, config=FusionConfig(gate_minimum=0.01, gate_sigmas=1.0))
    changed, fresh = CudaFusion(parameters_for(320, 180)), CudaFusion(strict)
    changed.change(strict)
    here, there = poisoned(320, 180), poisoned(320, 180)
    changed.fuse(stereo, mono, here)
    fresh.fuse(stereo, mono, there)
    assert here.source.tobytes() == there.source.tobytes()


def test_nothing_is_allocated_once_a_frame_is_through(cupy: Any, rng: np.random.Generator) -> None:
    from depthd.fusion.cuda import CudaFusion

    fusion = CudaFusion(parameters_for(640, 360))
    stereo, mono = (cupy.asarray(array) for array in random_frame(rng, 640, 360))
    planes = FusedPlanes(
        cupy.empty((360, 640), np.float32),
        cupy.empty((360, 640), np.uint8),
        cupy.empty((360, 640), np.float16),
    )
    for _ in range(3):
        fusion.fuse(stereo, mono, planes)
    pool = cupy.get_default_memory_pool()
    before = (pool.used_bytes(), pool.total_bytes(), cupy.cuda.runtime.memGetInfo())
    for _ in range(50):
        fusion.fuse(stereo, mono, planes)
    assert (pool.used_bytes(), pool.total_bytes(), cupy.cuda.runtime.memGetInfo()) == before
