"""Builds TensorRT engines: one builder for TensorRT 10.x, 11.x and TensorRT for RTX."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from depthd.errors import Cancelled, DepthdError
from depthd.frame import Array
from depthd.mono import engine_cache, golden, half
from depthd.mono.checksum import checksum
from depthd.mono.device import ANY_DEVICE, Device
from depthd.mono.engine_cache import Engine, EngineKey, Precision
from depthd.mono.interruptible import run_interruptible
from depthd.mono.model import Model, ModelCard
from depthd.mono.tensorrt_api import TensorRt

DEFAULT_WORKSPACE_BYTES = 2 << 30
DEFAULT_SIZES_PX = (308, 364, 406, 518)
"""Short sides that the predecessor exported, all multiples of 14."""

Runner = Callable[[bytes, Model, int, int], Callable[[Array], Array]]
"""(plan, model, height, width) -> a function from float32 (1, 3, height, width) to the map; needs the GPU."""


class BuildCancelled(Cancelled):
    """The user ended the build."""


class Progress(Protocol):
    """Hears how a build goes; see depthd/cli_engine.py for one with bars."""

    def phase(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of this many steps begins, within `parent`."""

    def step(self, name: str, step: int) -> bool:
        """A step of the phase is done. False ends the build."""

    def finish(self, name: str) -> None:
        """The phase is over."""


def key_for(
    api: TensorRt, device: Device | None, model: Model, height: int, width: int, precision: Precision
) -> EngineKey:
    """What an engine of this model must have been built for, to be used here.

    Engines of TensorRT for RTX fit a range of GPUs and drivers, and its runtime says which when it loads
    them; for the others the GPU is part of the key. Raises DepthdError where a GPU is needed and there is
    none.
    """
    if api.builds_without_gpu:
        device = ANY_DEVICE
    if device is None:
        raise DepthdError(
            f"no GPU is found, which {api.flavour} needs",
            "check nvidia-smi, and pip install 'depthd[gpu]' for CuPy",
        )
    return EngineKey(
        model_sha256=model_checksum(model),
        height=height,
        width=width,
        precision=precision,
        runtime=api.flavour,
        version=api.version,
        gpu=device.name,
        compute_capability=device.compute_capability,
        driver=device.driver,
    )


def model_checksum(model: Model) -> str:
    """Of the model's file and of those beside it that hold its weights."""
    parts = [checksum(model.path), *(checksum(model.path.with_name(name)) for name in model.card.data_files)]
    return parts[0] if len(parts) == 1 else engine_cache.combined(parts)


def build(
    api: TensorRt,
    model: Model,
    key: EngineKey,
    folder: Path,
    run: Runner | None = None,
    progress: Progress | None = None,
    workspace_bytes: int = DEFAULT_WORKSPACE_BYTES,
) -> Engine:
    """Builds, checks against the golden maps and puts the engine in place; returns it.

    run: executes a plan for the golden check; None: not here (no GPU), the check is then made at the first
    start. In half precision more and more is left in float32 until the check is passed. Raises DepthdError;
    an engine that was there before stays until the new one is whole.
    """

    def work(cancel: threading.Event) -> Engine:
        reports = _Reports(progress, cancel)
        engine_cache.require_writable(folder)
        plan, expected, level, result = _right_plan(api, model, key, folder, run, reports, workspace_bytes)
        reports.raise_if_cancelled()
        return engine_cache.place(
            folder,
            model.name,
            key,
            plan,
            lambda path: golden.save_maps(path, expected),
            half_level=level,
            worst_error=result.worst_error if result else None,
        )

    # Ctrl-C ends the build, and what would be built next also where it comes too late for that.
    engine, cancelled = run_interruptible(work)
    if cancelled:
        raise BuildCancelled("the build was interrupted", f"{engine.plan.name} was just ready")
    return engine


def _right_plan(
    api: TensorRt,
    model: Model,
    key: EngineKey,
    folder: Path,
    run: Runner | None,
    reports: _Reports,
    workspace_bytes: int,
) -> tuple[bytes, list[Array], int, golden.GoldenResult | None]:
    """(plan, golden maps, how much stays in float32, what the check found). Raises DepthdError."""
    expected = golden.reference_maps(model, key.height, key.width)
    inputs = golden.golden_inputs(model, key.height, key.width)
    failure = ""
    for level in half.LEVELS if key.precision == "fp16" else (0,):
        plan = _build_plan(api, model, key, level, reports, workspace_bytes, folder)
        result = None
        if run is not None:
            result = golden.check(run(plan, model, key.height, key.width), inputs, expected, key.precision)
            failure = result.failure
        if not failure:
            return plan, expected, level, result
    raise DepthdError(
        f"the {key.precision} engine of {model.name} is wrong: {failure}",
        "build with --precision fp32, or use mono.engine=onnx",
    )


@dataclass(frozen=True)
class _Reports:
    """Who hears of the build, and what ends it."""

    progress: Progress | None
    cancel: threading.Event

    def raise_if_cancelled(self) -> None:
        if self.cancel.is_set():
            raise BuildCancelled("the build was interrupted", "run it again; no engine was changed")


def _build_plan(
    api: TensorRt,
    model: Model,
    key: EngineKey,
    level: int,
    reports: _Reports,
    workspace_bytes: int,
    folder: Path,
) -> bytes:
    reports.raise_if_cancelled()
    if key.precision == "fp32" or not api.types_come_from_onnx:
        return _Build(api, model, key, level, reports, workspace_bytes, folder).run(model.path)
    with tempfile.TemporaryDirectory(prefix="depthd-") as temporary:
        converted = Path(temporary) / model.path.name
        half.to_half(model.path, converted, level)
        return _Build(api, model, key, level, reports, workspace_bytes, folder).run(converted)


class _Build:
    """One call of the builder. Everything TensorRT must keep alive meanwhile hangs here."""

    def __init__(
        self,
        api: TensorRt,
        model: Model,
        key: EngineKey,
        level: int,
        reports: _Reports,
        workspace_bytes: int,
        folder: Path,
    ) -> None:
        self._api = api
        self._model = model
        self._key = key
        self._level = level
        self._logger = api.logger()
        self._builder = api.module.Builder(self._logger)
        if self._builder is None:
            raise DepthdError("TensorRT cannot start its builder here", "check the driver with nvidia-smi")
        self._network = self._builder.create_network(api.network_flags)
        self._config = self._builder.create_builder_config()
        self._config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, workspace_bytes)
        self._timing = _TimingCache(api, self._config, folder)
        self._reports = reports
        self._monitor = _monitor(api.module, reports)
        self._config.progress_monitor = self._monitor

    def run(self, onnx_file: Path) -> bytes:
        self._parse(onnx_file)
        self._fix_size()
        if self._key.precision == "fp16" and not self._api.types_come_from_onnx:
            self._allow_half()
        # Builds without Python's lock, so that the main thread hears Ctrl-C meanwhile.
        plan = self._builder.build_serialized_network(self._network, self._config)
        if plan is None:
            self._reports.raise_if_cancelled()
            raise DepthdError(
                f"TensorRT {self._api.version} cannot build {self._model.name} at "
                f"{self._key.width}x{self._key.height}: {self._api.last_error(self._logger)}",
                "try another size or --precision, or use mono.engine=onnx",
            )
        self._timing.save()
        return bytes(plan)

    def _parse(self, onnx_file: Path) -> None:
        # Kept: the network refers to the weights that the parser holds.
        self._parser = parser = self._api.module.OnnxParser(self._network, self._logger)
        if parser.parse_from_file(str(onnx_file)):
            self._check_input()
            return
        errors = "; ".join(" ".join(str(parser.get_error(i)).split())[:160] for i in range(parser.num_errors))
        raise DepthdError(
            f"{self._model.path} is no ONNX that TensorRT {self._api.version} can read: {errors[:300]}",
            "give another file, or use mono.engine=onnx",
        )

    def _check_input(self) -> None:
        rank = 5 if self._model.card.views else 4
        shape = tuple(self._network.get_input(0).shape) if self._network.num_inputs else ()
        if self._network.num_inputs != 1 or len(shape) != rank:
            raise DepthdError(
                f"{self._model.path} has {self._network.num_inputs} inputs, the first of shape {shape}",
                f"depthd needs one input of rank {rank}",
            )

    def _fix_size(self) -> None:
        """One size: a range of sizes would cost speed, and the camera's size does not change."""
        name = self._network.get_input(0).name
        shape = input_shape(self._model.card, self._key.height, self._key.width)
        profile = self._builder.create_optimization_profile()
        try:
            profile.set_shape(name, shape, shape, shape)
        except RuntimeError as error:
            raise DepthdError(f"{self._model.name} cannot be built at {shape}: {error}", "try another size") from None
        if self._config.add_optimization_profile(profile) < 0:
            raise DepthdError(
                f"{self._model.name} does not take {self._key.width}x{self._key.height} px",
                "try another size",
            )

    def _allow_half(self) -> None:
        """TensorRT before 10.12: the builder chooses, and is told what must stay in float32."""
        module = self._api.module
        self._config.set_flag(module.BuilderFlag.FP16)
        self._config.set_flag(module.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        kinds = {module.LayerType.NORMALIZATION, module.LayerType.SOFTMAX, module.LayerType.REDUCE}
        kinds |= {module.LayerType.ELEMENTWISE} if self._level >= 1 else set()
        kinds |= {module.LayerType.UNARY, module.LayerType.ACTIVATION} if self._level >= 2 else set()
        for index in range(self._network.num_layers):
            layer = self._network.get_layer(index)
            if layer.type in kinds and layer.get_output(0).dtype == module.float32:
                layer.precision = module.float32
                layer.set_output_type(0, module.float32)


class _TimingCache:
    """Measurements of earlier builds, which make the next size or model faster; TensorRT for RTX has none."""

    def __init__(self, api: TensorRt, config: Any, folder: Path) -> None:
        self._config = config
        self._path: Path | None = None
        if api.flavour == "tensorrt_rtx":
            return
        self._path = folder / f"timing-{api.version}.cache"
        try:
            content = self._path.read_bytes()
        except OSError:
            content = b""
        self._cache = config.create_timing_cache(content)
        if not config.set_timing_cache(self._cache, False):
            self._cache = config.create_timing_cache(b"")
            config.set_timing_cache(self._cache, False)

    def save(self) -> None:
        """A cache that cannot be kept only costs time."""
        if self._path is None:
            return
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(bytes(self._config.get_timing_cache().serialize()))
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)


def input_shape(card: ModelCard, height: int, width: int) -> tuple[int, ...]:
    return (1, 1, 3, height, width) if card.views else (1, 3, height, width)


def _monitor(module: Any, reports: _Reports) -> Any:
    progress, cancel = reports.progress, reports.cancel

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if progress is not None:
                progress.phase(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress is not None and not progress.step(phase_name, step):
                cancel.set()
            return not cancel.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if progress is not None:
                progress.finish(phase_name)

    return Monitor()
