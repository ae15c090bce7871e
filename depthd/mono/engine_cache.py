"""Built engines on disk: which there are, which fits here, and why another does not.

An engine is three files: STEM.json (the key it was built for, and the plan's size and checksum), and the plan
and what it must give (see golden.py), STEM-CONTENT.engine and STEM-CONTENT.golden.npz. The .json names these two
and is written last: until then there is no engine, or the one before, whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from depthd.errors import DepthdError
from depthd.paths import WEIGHTS_DIR

log = logging.getLogger(__name__)

Precision = Literal["fp16", "fp32"]
PORTABLE = "onnxruntime"
"""Runtime of the networks that the portable engine converts for itself (onnx_half.py)."""

_FIELD_NAMES = {
    "model_sha256": "model",
    "height": "height",
    "width": "width",
    "precision": "precision",
    "runtime": "runtime",
    "version": "runtime version",
    "gpu": "GPU",
    "compute_capability": "compute capability",
    "driver": "driver",
}


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on; if one field differs, it is another engine."""

    model_sha256: str
    height: int
    width: int
    precision: Precision
    runtime: str
    version: str
    gpu: str
    compute_capability: str
    driver: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    def differences(self, built_for: EngineKey) -> list[str]:
        """One text a differing field: 'driver is 580.1, the engine was built for 570.2'."""
        return [
            f"{_FIELD_NAMES[field.name]} is {_short(getattr(self, field.name))}, "
            f"the engine was built for {_short(getattr(built_for, field.name))}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(built_for, field.name)
        ]


@dataclass(frozen=True)
class Engine:
    """An engine on disk."""

    model: str
    key: EngineKey
    description: Path
    plan: Path
    size_bytes: int
    sha256: str
    half_level: int
    """How much stays in float32 (see half.py); 0 in a float32 engine."""
    worst_error: float | None
    """Of the golden check after the build; None where it was built without a GPU to run it."""

    @property
    def golden(self) -> Path:
        return self.plan.with_suffix(".golden.npz")

    def read_plan(self) -> bytes:
        """Raises DepthdError for a plan that is not the one that was written."""
        try:
            content = self.plan.read_bytes()
        except OSError as error:
            raise DepthdError(f"cannot read {self.plan}: {error.strerror}", _REBUILD) from None
        if len(content) != self.size_bytes:
            raise DepthdError(f"{self.plan} is truncated: {len(content)} of {self.size_bytes} bytes", _REBUILD)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise DepthdError(f"{self.plan} is damaged", _REBUILD)
        return content


_UNREADABLE = (ValueError, TypeError, KeyError)
_REBUILD = "build it again with `depthd engine build`"


def engines_folder(weights_dir: Path | None) -> Path:
    return (weights_dir or WEIGHTS_DIR) / "engines"


def stem(model: str, key: EngineKey) -> str:
    return f"{model}-{key.width}x{key.height}-{key.precision}-{key.digest}"


def list_engines(folder: Path) -> list[Engine]:
    """Every whole engine in the folder, by name; descriptions that cannot be read are left out and logged."""
    engines = []
    for path in sorted(folder.glob("*.json")):
        try:
            engines.append(_read(path))
        except (OSError, *_UNREADABLE) as error:
            log.warning("%s is no description of an engine: %s", path, error)
    return [engine for engine in engines if engine.plan.is_file() and engine.golden.is_file()]


def find_engine(folder: Path, model: str, key: EngineKey) -> Engine | None:
    """The engine for exactly this key. Of others of the same size, the log says what differs."""
    engines = [engine for engine in list_engines(folder) if engine.model == model]
    for engine in engines:
        if engine.key == key:
            return engine
    for engine in engines:
        if _same_use(engine.key, key):
            log.warning("%s is not used: %s", engine.plan.name, "; ".join(key.differences(engine.key)))
    return None


def _same_use(one: EngineKey, other: EngineKey) -> bool:
    """Whether one would stand in for the other, were it not for what else differs."""
    same_size = (one.height, one.width, one.precision) == (other.height, other.width, other.precision)
    return same_size and (one.runtime == PORTABLE) == (other.runtime == PORTABLE)


def place(
    folder: Path,
    model: str,
    key: EngineKey,
    plan: bytes,
    write_golden: Callable[[Path], None],
    half_level: int = 0,
    worst_error: float | None = None,
) -> Engine:
    """Writes an engine under temporary names and renames it; one of the same key is replaced at once.

    Raises DepthdError if it cannot be written; what was there before is then untouched, as it is whenever this
    process ends on the way.
    """
    description = folder / f"{stem(model, key)}.json"
    before = _contents(description)
    temporary = [folder / f".{stem(model, key)}.{os.getpid()}.{kind}.tmp" for kind in ("golden", "plan", "json")]
    made: set[Path] = set()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_golden(temporary[0])
        sha256 = hashlib.sha256(plan).hexdigest()
        content = combined([sha256, hashlib.sha256(temporary[0].read_bytes()).hexdigest()])[:12]
        path = folder / f"{stem(model, key)}-{content}.engine"
        engine = Engine(model, key, description, path, len(plan), sha256, half_level, worst_error)
        made = {engine.golden, engine.plan} - before
        temporary[1].write_bytes(plan)
        temporary[2].write_text(json.dumps(_describe(engine), indent=1))
        for written, target in zip(temporary, (engine.golden, engine.plan, description), strict=True):
            _to_disk(written)
            written.replace(target)
    except OSError as error:
        _unlink(made)
        raise _cannot_write(folder, error) from None
    finally:
        _unlink(temporary)
    _unlink(before - {engine.golden, engine.plan})
    return engine


def require_writable(folder: Path) -> None:
    """Makes the folder. Raises DepthdError where nothing can be written: a build is too long to find out after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: Path, error: OSError) -> DepthdError:
    return DepthdError(
        f"cannot write the engine into {folder}: {error.strerror or error}",
        "make room or give another --folder; engines built before are untouched",
    )


def remove(engine: Engine) -> None:
    """The description first, so that a half-removed engine is none."""
    for path in (engine.description, engine.plan, engine.golden):
        path.unlink(missing_ok=True)


def prune(folder: Path, why_stale: Callable[[Engine], str]) -> list[tuple[Path, str]]:
    """Removes engines that `why_stale` gives a reason for, and files that belong to no engine; returns what
    and why.
    """
    removed = []
    for engine in list_engines(folder):
        reason = why_stale(engine)
        if reason:
            remove(engine)
            removed.append((engine.plan, reason))
    whole = {path for engine in list_engines(folder) for path in (engine.plan, engine.golden, engine.description)}
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        left_over = path.name.endswith((".tmp", ".engine", ".golden.npz", ".json")) and path not in whole
        if left_over and path.is_file():
            path.unlink()
            removed.append((path, "left over from an interrupted build"))
    return removed


def combined(checksums: list[str]) -> str:
    """One checksum for several files."""
    return hashlib.sha256("".join(checksums).encode()).hexdigest()


def _describe(engine: Engine) -> dict[str, Any]:
    return {
        "model": engine.model,
        "plan": engine.plan.name,
        "key": asdict(engine.key),
        "size_bytes": engine.size_bytes,
        "sha256": engine.sha256,
        "half_level": engine.half_level,
        "worst_error": engine.worst_error,
    }


def _contents(description: Path) -> set[Path]:
    """The plan and the maps of the engine described there; none if there is none."""
    try:
        engine = _read(description)
    except (OSError, *_UNREADABLE):
        return set()
    return {engine.plan, engine.golden}


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _read(path: Path) -> Engine:
    content = json.loads(path.read_text())
    return Engine(
        model=content["model"],
        key=EngineKey(**content["key"]),
        description=path,
        plan=path.with_name(content["plan"]),
        size_bytes=content["size_bytes"],
        sha256=content["sha256"],
        half_level=content["half_level"],
        worst_error=content["worst_error"],
    )


def _to_disk(path: Path) -> None:
    """Renaming is atomic only for content that has reached the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
