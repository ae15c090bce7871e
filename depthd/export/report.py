"""The report of `depthd compare`: one HTML file that needs nothing else, and the same figure as PNG."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np

from depthd.compare import REGIONS, Collector, Judgement, summary_of
from depthd.comparison import fitted_depth_m
from depthd.errors import DepthdError
from depthd.files import written_whole

MOST_DOTS = 8000
_STEREO, _MONO, _LINE = "#0072b2", "#d55e00", "#000000"


def write_report(path: Path, collector: Collector, judged: Judgement) -> list[Path]:
    """Writes `path` (.html) and the picture beside it. Raises DepthdError where matplotlib is missing."""
    png = _figure_png(collector, judged)
    picture = path.with_suffix(".png")
    page = path.with_suffix(".html")
    with written_whole(picture) as part:
        part.write_bytes(png)
    with written_whole(page) as part:
        part.write_text(_html(judged, png), encoding="utf-8")
    return [page, picture]


def _figure_png(collector: Collector, judged: Judgement) -> bytes:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise DepthdError(
            "the report needs matplotlib", "pip install 'depthd[viz]', or look at it with --quick"
        ) from None
    figure = Figure(figsize=(15, 11), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, 3, height_ratios=(0.75, 1, 1))
    _pictures(axes[0], collector, judged)
    _scatter(axes[1, 0], collector, judged)
    _histogram(axes[1, 1], collector)
    _by_depth(axes[1, 2], judged)
    _by_region(axes[2, 0], judged)
    _over_time(axes[2, 1:], collector)
    figure.suptitle(summary_of(judged)[0])
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()


def _pictures(axes: Any, collector: Collector, judged: Judgement) -> None:
    """Both depths on one linear scale in metres, and where they differ."""
    import cv2

    seen = collector.last
    assert seen is not None
    low, high = judged.range_m
    height, width = seen.stereo_depth_m.shape
    mono_m = cv2.resize(
        fitted_depth_m(seen.mono, collector.kind or "relative_inverse", seen.fit), (width, height),
        interpolation=cv2.INTER_NEAREST,
    )  # fmt: skip
    stereo_m = np.where(np.isfinite(seen.stereo_depth_m), seen.stereo_depth_m, np.nan)
    for axis, depth_m, title in zip(axes, (stereo_m, mono_m), ("stereo depth (m)", "fitted mono (m)"), strict=False):
        shown = axis.imshow(depth_m, cmap="viridis_r", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title)
        axis.figure.colorbar(shown, ax=axis, shrink=0.8)
    percent = 100 * (stereo_m / mono_m - 1)
    shown = axes[2].imshow(percent, cmap="PuOr_r", vmin=-20, vmax=20, interpolation="nearest")
    axes[2].set_title("residual (%), > 0: mono nearer")
    axes[2].figure.colorbar(shown, ax=axes[2], shrink=0.8)
    for axis in axes:
        axis.set_facecolor("#888888")
        axis.set_xticks([])
        axis.set_yticks([])


def _scatter(axis: Any, collector: Collector, judged: Judgement) -> None:
    stereo, residual = np.concatenate(collector.stereo), np.concatenate(collector.residual)
    predicted = stereo * (1 + residual)
    step = max(1, len(stereo) // MOST_DOTS)
    axis.scatter(predicted[::step], stereo[::step], s=3, alpha=0.3, color=_STEREO, linewidths=0)
    end = float(np.quantile(stereo, 0.995)) * 1.1
    axis.plot([0, end], [0, end], color=_LINE, linewidth=1)
    axis.set(xlim=(0, end), ylim=(0, end), xlabel="fitted mono, inverse depth (1/m)", ylabel="stereo (1/m)")
    axis.set_title(f"r = {judged.pearson_r:.3f}, parabola explains {100 * judged.curvature:+.2f} %", fontsize=10)


def _histogram(axis: Any, collector: Collector) -> None:
    percent = 100 * np.concatenate(collector.residual)
    axis.hist(np.clip(percent, -25, 25), bins=51, range=(-25, 25), color=_STEREO)
    axis.set(xlabel="residual (%)", ylabel="samples")


def _by_depth(axis: Any, judged: Judgement) -> None:
    depths = [depth for depth, _ in judged.by_depth]
    groups = [group for _, group in judged.by_depth]
    axis.fill_between(depths, [100 * g.low for g in groups], [100 * g.high for g in groups], alpha=0.25, color=_STEREO)
    axis.plot(depths, [100 * g.median for g in groups], color=_STEREO, marker="o", markersize=4)
    axis.axhline(0, color=_LINE, linewidth=0.8)
    axis.set(xlabel="stereo depth (m)", ylabel="residual (%): median, 5–95 %")


def _by_region(axis: Any, judged: Judgement) -> None:
    places = np.arange(len(REGIONS))
    groups = [judged.by_region[name] for name in REGIONS]
    axis.barh(places, [100 * g.spread for g in groups], color=_STEREO, label="spread")
    axis.scatter([100 * g.median for g in groups], places, color=_MONO, zorder=3, label="median")
    axis.set_yticks(places, [f"{name} ({group.count})" for name, group in zip(REGIONS, groups, strict=True)])
    axis.set(xlabel="residual (%)")
    axis.legend()


def _over_time(axes: Any, collector: Collector) -> None:
    start = collector.fits[0][0]
    seconds = [at - start for at, _ in collector.fits]
    for axis, name in zip(axes, ("scale", "shift"), strict=True):
        axis.plot(seconds, [getattr(fit, name) for _, fit in collector.fits], color=_STEREO, marker=".")
        axis.set(xlabel="time (s)", ylabel=f"{name} (1/m)")


def _html(judged: Judgement, png: bytes) -> str:
    lines = "".join(f"<li>{html.escape(line)}" for line in summary_of(judged))
    rows = "".join(
        f"<tr><th>{html.escape(name)}<td>{count}<td>{median}<td>{spread}<td>{low}<td>{high}"
        for name, count, median, spread, low, high in table_of(judged)
    )
    picture = base64.b64encode(png).decode()
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>depthd compare</title>"
        "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:80rem;padding:0 1rem}"
        "img{max-width:100%}"
        "td,th{padding:.1rem .8rem;text-align:right}th{text-align:left;font-weight:normal}</style>"
        f"<h1>Stereo against fitted mono</h1><p>{judged.frames} frames</p><ul>{lines}</ul>"
        f"<img alt='figures' src='data:image/png;base64,{picture}'>"
        "<table><tr><th>where<td>samples<td>median<td>spread<td>5 %<td>95 %" + rows + "</table></html>\n"
    )


def table_of(judged: Judgement) -> list[tuple[str, ...]]:
    """Rows of (where, samples, median, spread, 5 %, 95 %) as text, in per cent: all, by region, by depth."""
    groups = [("all", judged.all), *judged.by_region.items()]
    groups += [(f"around {depth:.2f} m", group) for depth, group in judged.by_depth]
    return [
        (name, str(g.count), *(f"{100 * value:+.1f} %" for value in (g.median, g.spread, g.low, g.high)))
        for name, g in groups
        if g.count
    ]
