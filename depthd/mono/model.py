"""Model cards: what a network takes, what its output means, and where its file is.

weights/manifest.yaml holds one card per model. A new network is one entry there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, StringConstraints, model_validator
from typing_extensions import Self

from depthd import config_file
from depthd.config_file import Section
from depthd.errors import DepthdError, UsageError
from depthd.mono.checksum import checksum, verify_checksum
from depthd.paths import WEIGHTS_DIR

OutputKind = Literal["relative_inverse", "metric_depth", "relative_depth", "disparity"]
"""relative_inverse: larger is nearer, inverse depth up to scale and shift (Depth Anything V1 and V2, MiDaS).
metric_depth: metres, larger is farther. relative_depth: depth up to scale, larger is farther
(Depth Anything V3).
disparity: pixels at the size of the network's input, larger is nearer; of stereo networks, see stereo.py."""

Interpolation = Literal["area", "linear", "cubic"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LOCAL_MANIFEST = "local.yaml"
PerChannel = tuple[float, float, float]
PositivePerChannel = tuple[PositiveFloat, PositiveFloat, PositiveFloat]


class SizeRule(Section):
    """How large a picture the network gets. Aspect is kept; both sides are multiples of `multiple_px`."""

    multiple_px: PositiveInt = Field(description="Both sides are multiples of this (px): patch or total stride")
    area_px: PositiveInt | None = Field(None, description="Aim at this area (px)")
    short_side_px: PositiveInt | None = Field(None, description="Aim at this short side (px)")
    long_side_px: PositiveInt | None = Field(None, description="Aim at this long side (px)")

    @model_validator(mode="after")
    def _has_one_aim(self) -> Self:
        if sum(aim is not None for aim in (self.area_px, self.short_side_px, self.long_side_px)) != 1:
            raise ValueError("give exactly one of area_px, short_side_px, long_side_px")
        return self


class HubFile(Section):
    """Where `depthd weights pull` finds a model."""

    repository: str = Field(description="owner/name on the hub")
    revision: str = Field(description="Commit, so that the file never changes under the same card")
    path: str = Field(description="File in the repository; for a checkpoint, its folder")


class ModelCard(Section):
    """Everything depthd knows about a network."""

    title: str = Field(description="For people")
    file: str = Field(description="File in the weights folder")
    sha256: Sha256 | None = Field(None, description="Checksum of the file; null: pinned when it is first fetched")
    data_files: dict[str, Sha256 | None] = Field(
        {}, description="Files that belong beside it (ONNX external data), with their checksums"
    )
    hub: HubFile | None = Field(None, description="Where to fetch it; null: it comes with depthd or was added by hand")
    checkpoint: bool = Field(
        False, description="The hub holds a transformers checkpoint, which is exported to ONNX after fetching"
    )
    licence: str = Field(description="SPDX identifier, or what the origin says")
    ask_licence: bool = Field(
        False, description="Refused unless the licence is accepted: no commercial use, or not certain"
    )
    origin: str = Field(description="Who made it, from what")
    limits: str = Field("", description="What it is known to do badly")
    input: str | None = Field(None, description="Name of the input; null: the first")
    cpu_only: bool = Field(False, description="For ONNX Runtime on a CPU; no engine is built of it")
    right_input: str | None = Field(None, description="Name of the second input, of a stereo network")
    views: bool = Field(False, description="The input has an axis of views: 1, views, 3, height, width")
    output: str | None = Field(None, description="Name of the output; null: the first")
    output_kind: OutputKind = Field(description="What the numbers mean")
    size: SizeRule = Field(description="Input size")
    mean: PerChannel = Field((0.485, 0.456, 0.406), description="Subtracted per channel, R G B, of values 0 to 1")
    std: PositivePerChannel = Field((0.229, 0.224, 0.225), description="Divided by, per channel, R G B")
    shrink: Interpolation = Field("area", description="Interpolation to a smaller size")
    enlarge: Interpolation = Field("cubic", description="Interpolation to a larger size")

    @model_validator(mode="after")
    def _has_a_right_eye_if_it_needs_one(self) -> Self:
        if (self.output_kind == "disparity") != (self.right_input is not None):
            raise ValueError("right_input belongs to output_kind disparity, and disparity needs right_input")
        return self


class Manifest(Section):
    """weights/manifest.yaml, and the local.yaml that depthd keeps beside models fetched or added on this
    machine.
    """

    models: dict[str, ModelCard] = Field({}, description="Cards by name")
    pins: dict[str, Sha256] = Field({}, description="Checksums of files whose cards had none, by file")

    def expected_sha256(self, file: str, on_card: str | None) -> str | None:
        """The checksum a file must have; None where neither its card nor a pin says."""
        return on_card or self.pins.get(file)


@dataclass(frozen=True)
class Model:
    """A model whose file is there and is the one its card means."""

    name: str
    card: ModelCard
    path: Path


def load_manifest(folder: Path | None = None) -> Manifest:
    """The cards that come with depthd, and those of the weights folder's local.yaml. Raises UsageError."""
    manifest = read_manifest(WEIGHTS_DIR / "manifest.yaml")
    local = (folder or WEIGHTS_DIR) / LOCAL_MANIFEST
    if not local.is_file():
        return manifest
    added = read_manifest(local)
    return Manifest(models={**manifest.models, **added.models}, pins=added.pins)


def read_manifest(path: Path) -> Manifest:
    """Reads one file of cards. Raises UsageError."""
    return config_file.read(Manifest, path, remedy="see the cards in the weights/manifest.yaml of depthd")


def find_model(name_or_path: str, manifest: Manifest | None = None, folder: Path | None = None) -> Model:
    """A model by its name in the manifest, or by the path of an .onnx file.

    A file that is some card's file by checksum gets that card. Any other file gets `default_card`, which is
    right for networks used like Depth Anything V2. Raises UsageError for an unknown name, DepthdError for a
    file that is absent or is not what its card says.
    """
    manifest = manifest or load_manifest(folder)
    if name_or_path.endswith(".onnx"):
        return _model_at(Path(name_or_path), manifest)
    card = manifest.models.get(name_or_path)
    if card is None:
        known = ", ".join(manifest.models)
        raise UsageError(
            f"no model is called {name_or_path!r}", f"known are {known}; or give the path of an .onnx file"
        )
    path = locate(card, folder)
    if path is None:
        remedy = f"depthd weights pull {name_or_path}" if card.hub else card.origin
        raise DepthdError(f"the file {card.file} of model {name_or_path} is not here", remedy)
    verify_files(card, path, manifest)
    return Model(name_or_path, card, path)


def locate(card: ModelCard, folder: Path | None = None) -> Path | None:
    """The card's file in the weights folder, or in the one that comes with depthd; None if in neither."""
    places = (place / card.file for place in (folder or WEIGHTS_DIR, WEIGHTS_DIR))
    return next((place for place in places if place.is_file()), None)


def verify_files(card: ModelCard, path: Path, manifest: Manifest) -> None:
    """Raises DepthdError unless the file and those beside it are what the card or a pin says."""
    expected = manifest.expected_sha256(card.file, card.sha256)
    if expected:
        verify_checksum(path, expected)
    for name, on_card in card.data_files.items():
        beside = path.with_name(name)
        if not beside.is_file():
            raise DepthdError(f"{beside}, which belongs to {path.name}, is not there", "put it there")
        expected = manifest.expected_sha256(str(Path(card.file).with_name(name)), on_card)
        if expected:
            verify_checksum(beside, expected)


def default_card(file: str) -> ModelCard:
    """For an .onnx file without a card: used like Depth Anything V2.

    RGB with ImageNet's mean and standard deviation, short side 518 px, sides multiples of 14 px, larger
    output nearer (api: https://github.com/DepthAnything/Depth-Anything-V2, depth_anything_v2/dpt.py).
    """
    return ModelCard(
        title=f"{file}, used like Depth Anything V2",
        file=file,
        licence="unknown",
        origin="a file given by its path",
        output_kind="relative_inverse",
        size=SizeRule(multiple_px=14, short_side_px=518),
    )


def input_size(
    card: ModelCard, height: int, width: int, short_side_px: int | None = None, square: bool = False
) -> tuple[int, int]:
    """(height, width) in px at which the network sees a picture of this size.

    Each side is scaled by the same factor and then rounded to the nearest multiple, at least one.
    short_side_px replaces the card's aim; square squeezes to 1:1. For Depth Anything V2 (short side 518,
    multiple 14) 1280x720 gives 924x518, as its own transform does.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {width}x{height} px has no size")
    if square:
        height = width = min(height, width)
    rule = card.size
    if short_side_px is not None:
        scale = short_side_px / min(height, width)
    elif rule.short_side_px is not None:
        scale = rule.short_side_px / min(height, width)
    elif rule.long_side_px is not None:
        scale = rule.long_side_px / max(height, width)
    else:
        assert rule.area_px is not None  # SizeRule has exactly one aim
        scale = math.sqrt(rule.area_px / (height * width))
    return _to_multiple(scale * height, rule.multiple_px), _to_multiple(scale * width, rule.multiple_px)


def _to_multiple(side: float, multiple: int) -> int:
    return max(1, math.floor(side / multiple + 0.5)) * multiple


def _model_at(path: Path, manifest: Manifest) -> Model:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "give a path that exists, or a model's name")
    for name, card in manifest.models.items():
        if card.sha256 and checksum(path) == card.sha256:
            return Model(name, card, path)
    return Model(path.stem, default_card(path.name), path)
