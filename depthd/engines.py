"""Which engines to build and which are stale: the logic behind `depthd engine`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from depthd import weights
from depthd.errors import DepthdError, UsageError
from depthd.mono import engine_build, engine_cache
from depthd.mono.device import ANY_DEVICE, Device, find_device
from depthd.mono.engine_build import Progress, Runner
from depthd.mono.engine_cache import Engine, Precision
from depthd.mono.golden import load_maps
from depthd.mono.half_network import half_key
from depthd.mono.model import Model, ModelCard, find_model, input_size, load_manifest
from depthd.mono.tensorrt_api import TensorRt

log = logging.getLogger(__name__)

SQUARE = (1, 1)


@dataclass(frozen=True)
class Target:
    """An engine to build: a model at a size."""

    model: Model
    height: int
    width: int


def parse_aspect(text: str, camera: Callable[[], tuple[int, int]]) -> tuple[int, int]:
    """'16:9', 'square' or 'camera' -> (width, height) in any unit. Raises UsageError."""
    if text == "square":
        return SQUARE
    if text == "camera":
        return camera()
    found = re.fullmatch(r"([1-9]\d{0,4}):([1-9]\d{0,4})", text)
    if found is None:
        raise UsageError(f"--aspect {text} is no aspect", "give WIDTH:HEIGHT, for example 16:9, or square, or camera")
    return int(found[1]), int(found[2])


def parse_sizes(text: str) -> list[int]:
    """'308,364' -> [308, 364], short sides in px. Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and 1 <= int(part) <= 8192 for part in parts):
        raise UsageError(f"--sizes {text} are no sizes", "give short sides in px, for example 308,364,406,518")
    return list(dict.fromkeys(int(part) for part in parts))


def models(names: Sequence[str], every: bool, weights_dir: Path | None) -> list[Model]:
    """The named models, or every one whose file is here and of which there may be an engine. Raises DepthdError."""
    if every:
        here = (state for state in weights.list_models(weights_dir) if state.state == "here")
        able = (state.name for state in here if not state.card.cpu_only and state.card.right_input is None)
        return [find_model(name, folder=weights_dir) for name in able]
    return [find_model(name, folder=weights_dir) for name in names]


def targets(
    model: Model, short_sides_px: Sequence[int], aspect: tuple[int, int], note: Callable[[str], None]
) -> list[Target]:
    """One target a size, rounded to what the network takes; `note` hears of every size that was rounded."""
    found: dict[tuple[int, int], Target] = {}
    for short_px in short_sides_px:
        height, width = size_of(model.card, short_px, aspect)
        if min(height, width) != short_px:
            note(f"{model.name}: {short_px} is no multiple of the patch, built for {width}x{height}")
        found[height, width] = Target(model, height, width)
    return list(found.values())


def size_of(card: ModelCard, short_px: int, aspect: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the network's input for pictures of this aspect (width, height)."""
    # Scaled up, so that the rule sees the aspect and not the rounding of 16 by 9 pixels.
    return input_size(card, aspect[1] * 1000, aspect[0] * 1000, short_px)


def build(
    api: TensorRt,
    target: Target,
    precision: Precision,
    weights_dir: Path | None,
    run: Runner | None,
    progress: Progress | None = None,
    again: bool = False,
) -> tuple[Engine, bool]:
    """Builds one engine unless it is there and whole; returns it and whether it was built. Raises DepthdError."""
    folder = engine_cache.engines_folder(weights_dir)
    key = engine_build.key_for(api, find_device(), target.model, target.height, target.width, precision)
    known = engine_cache.find_engine(folder, target.model.name, key)
    if known is not None and not again and _is_whole(known):
        return known, False
    return engine_build.build(api, target.model, key, folder, run, progress), True


def _is_whole(engine: Engine) -> bool:
    try:
        engine.read_plan()
        load_maps(engine.golden)
    except (DepthdError, OSError, ValueError) as error:
        log.warning("%s is built again: %s", engine.plan.name, error)
        return False
    return True


def list_engines(api: TensorRt | None, weights_dir: Path | None) -> Iterator[tuple[Engine, str]]:
    """Every engine with the reason why it cannot be used here, empty if it can."""
    why = staleness(api, find_device(), weights_dir)
    for engine in engine_cache.list_engines(engine_cache.engines_folder(weights_dir)):
        yield engine, why(engine)


def prune(api: TensorRt | None, weights_dir: Path | None) -> list[tuple[Path, str]]:
    """Removes what cannot be used here; returns what and why."""
    why = staleness(api, find_device(), weights_dir)
    return engine_cache.prune(engine_cache.engines_folder(weights_dir), why)


def staleness(api: TensorRt | None, device: Device | None, weights_dir: Path | None) -> Callable[[Engine], str]:
    """A function from an engine to the reason why it cannot be used here, empty if it can."""
    manifest = load_manifest(weights_dir)

    def why(engine: Engine) -> str:
        portable = engine.key.runtime == engine_cache.PORTABLE
        if api is None and not portable:
            return "TensorRT is not installed"
        if engine.model not in manifest.models:
            return f"there is no model {engine.model} any more"
        try:
            engine.read_plan()
            model = find_model(engine.model, manifest, weights_dir)
            key = engine.key
            if api is None or portable:
                here = half_key(model, key.height, key.width, device or ANY_DEVICE)
            else:
                here = engine_build.key_for(api, device, model, key.height, key.width, key.precision)
        except DepthdError as error:
            return error.what
        return "; ".join(here.differences(engine.key))

    return why
