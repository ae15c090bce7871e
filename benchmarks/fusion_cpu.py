"""How long does fusing one frame take on the CPU, against the specification and against what others do?

All contenders get the same frames in turn, one after the other, so that a change of the machine's speed meets
them all. The predecessor fits with RANSAC (1000 trials) and predicts the whole picture; it does so once, not
in every frame, and its fit is timed here as if it did. statsmodels gets the samples that depthd's fit gets.

python benchmarks/fusion_cpu.py [--frames 200]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from depthd import fusion
from depthd.config import FusionConfig, MatcherConfig, MonoConfig, VirtualCameraConfig
from depthd.frame import Array, Camera, FusedPlanes
from depthd.mono import open_engine

SIZES = {"672x376": (672, 376), "1280x720": (1280, 720), "1920x1080": (1920, 1080)}
SLOW_SHARE = 20
"""The slow contenders get every SLOW_SHARE-th frame."""


def scene(width: int, height: int) -> tuple[Camera, Array, Array]:
    """Stereo depth (m) from the matcher and mono from the embedded network, for a picture of the virtual
    room."""
    import cv2

    from depthd.cameras import open_camera
    from depthd.cameras.matcher import StereoMatcher

    source = open_camera(VirtualCameraConfig(resolution="HD720", real_time=False))
    try:
        frame = source.grab()
    finally:
        source.close()
    stereo_depth_m = StereoMatcher(frame.camera, MatcherConfig()).depth_m(frame.left_bgr, frame.right_bgr)
    engine = open_engine(MonoConfig())
    engine.prepare(*frame.left_bgr.shape[:2])
    mono = engine.infer(frame.left_bgr).copy()
    engine.close()
    stereo_depth_m = cv2.resize(stereo_depth_m, (width, height), interpolation=cv2.INTER_NEAREST)
    return frame.camera.scaled_to(width, height), stereo_depth_m, mono


def predecessor(stereo_depth_m: Array, mono: Array) -> Callable[[], None]:
    """RANSAC on every measured pixel, then the picture's depth from the whole mono map, as depth-anything-zed
    does."""
    import cv2
    from sklearn.linear_model import LinearRegression, RANSACRegressor

    height, width = stereo_depth_m.shape

    def run() -> None:
        x = cv2.resize(mono, (width, height))
        measured = np.isfinite(stereo_depth_m)
        model = RANSACRegressor(LinearRegression(), max_trials=1000, random_state=0)
        model.fit(x[measured][:, None], 1.0 / stereo_depth_m[measured])
        predicted = 1.0 / model.predict(x.reshape(-1, 1)).reshape(height, width)
        np.where(measured & (stereo_depth_m < 5.0), stereo_depth_m, predicted)

    return run


def robust_linear_model(stereo_depth_m: Array, mono: Array, camera: Camera) -> Callable[[], None]:
    """statsmodels RLM with Tukey's biweight on one sample per cell."""
    import statsmodels.api as sm

    from depthd.fusion.parameters import MonoKind, make_parameters
    from depthd.fusion.reference import mono_as_linear, summarise, upsample

    p = make_parameters(FusionConfig(), camera, MonoKind.RELATIVE_INVERSE)
    x = upsample(mono_as_linear(mono, p.mono_kind), p.height, p.width)
    cells = summarise(stereo_depth_m, x, p)
    samples, rho = sm.add_constant(cells.x[cells.measured]), cells.rho[cells.measured]

    def run() -> None:
        sm.RLM(rho, samples, M=sm.robust.norms.TukeyBiweight()).fit()

    return run


def depthd_with(backend: str, camera: Camera, stereo_depth_m: Array, mono: Array) -> Callable[[], None]:
    fused = fusion.create(FusionConfig(backend=backend), camera, "relative_inverse")  # type: ignore[arg-type]
    planes = FusedPlanes.empty(camera.height, camera.width)

    def run() -> None:
        fused.fuse(stereo_depth_m, mono, planes)

    return run


def measure(contenders: dict[str, Callable[[], None]], frames: int) -> dict[str, Array]:
    """Milliseconds per frame of each contender, in turn; the first call of each is not counted."""
    for run in contenders.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for frame in track(range(frames), "frames"):
        for number, (name, run) in enumerate(contenders.items()):
            if number > 0 and frame % SLOW_SHARE:
                continue
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: np.array(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    frames = parser.parse_args().frames
    table = Table(title=f"one frame, ms ({frames} frames, slow contenders every {SLOW_SHARE}th)")
    for column in ("size", "contender", "frames", "p50", "p99", "p50 / C"):
        table.add_column(column, justify="left" if column in ("size", "contender") else "right")
    for size, (width, height) in SIZES.items():
        camera, stereo_depth_m, mono = scene(width, height)
        times = measure(
            {
                "depthd, C": depthd_with("cpu", camera, stereo_depth_m, mono),
                "depthd, NumPy reference": depthd_with("reference", camera, stereo_depth_m, mono),
                "RANSAC + prediction": predecessor(stereo_depth_m, mono),
                "statsmodels RLM, fit only": robust_linear_model(stereo_depth_m, mono, camera),
            },
            frames,
        )
        base = np.median(times["depthd, C"])
        for name, values in times.items():
            p50, p99 = np.percentile(values, [50, 99])
            table.add_row(size, name, str(len(values)), f"{p50:.2f}", f"{p99:.2f}", f"{p50 / base:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
