"""Fetching, checking and adding models: the logic behind `depthd weights`.

A model comes to its place in one step: fetched into a folder beside it, checked, renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from depthd import config_file
from depthd.errors import DepthdError, UsageError
from depthd.mono.checksum import checksum, verify_checksum
from depthd.mono.model import (
    LOCAL_MANIFEST,
    HubFile,
    Manifest,
    Model,
    ModelCard,
    load_manifest,
    locate,
    read_manifest,
    verify_files,
)
from depthd.paths import WEIGHTS_DIR

State = Literal["here", "absent", "damaged"]
CHECKPOINT_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


@dataclass(frozen=True)
class ModelState:
    """One line of `depthd weights list`."""

    name: str
    card: ModelCard
    state: State
    detail: str
    """The path of the file, or what is wrong with it."""


def list_models(folder: Path | None = None) -> list[ModelState]:
    """Every card with the state of its file. Raises UsageError for a wrong manifest."""
    manifest = load_manifest(folder)
    return [_state_of(name, card, manifest, folder) for name, card in manifest.models.items()]


def verify(folder: Path | None = None) -> list[ModelState]:
    """The models that are here, with checksums computed anew from the files. One that has no checksum yet, since
    it was brought by hand, is pinned.
    """
    states = list_models(folder)
    for state in states:
        path = locate(state.card, folder)
        for file in [path, *(path.with_name(name) for name in state.card.data_files)] if path else []:
            file.with_name(f".{file.name}.sha256").unlink(missing_ok=True)
    found = [state for state in list_models(folder) if state.state != "absent"]
    return [_pinned(state, folder or WEIGHTS_DIR) for state in found]


def _pinned(state: ModelState, folder: Path) -> ModelState:
    """Pins the files of a model that is here, as far as neither its card nor a pin has their checksums."""
    manifest, place = load_manifest(folder), Path(state.card.file)
    wanted = {state.card.file: state.card.sha256}
    wanted |= {str(place.with_name(name)): on_card for name, on_card in state.card.data_files.items()}
    unknown = [file for file, on_card in wanted.items() if manifest.expected_sha256(file, on_card) is None]
    if state.state != "here" or not unknown:
        return state
    notes = [_pin(folder, file, checksum(Path(state.detail).with_name(Path(file).name))) for file in unknown]
    return replace(state, detail=f"{state.detail}; {'; '.join(notes)}")


def pull(
    name: str,
    folder: Path | None = None,
    accept_license: bool = False,
    endpoint: str | None = None,
    export: Callable[[Path, Path], None] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Path:
    """Fetches a model from the hub, checks it, and puts it in place; returns its path.

    What is already there and whole is not fetched again. A connection that breaks is resumed where it broke,
    several times; a download that was given up starts anew next time, as huggingface_hub 2 keeps no parts.
    endpoint: the hub's address, None: its own setting (environment variable HF_ENDPOINT). export: turns a
    checkpoint's folder into an ONNX file; None: depthd.mono.export. note: hears of a checksum that was not known.
    Raises UsageError for an unknown model or a licence that was not accepted, DepthdError for everything that
    goes wrong on the way.
    """
    folder = folder or WEIGHTS_DIR
    manifest = load_manifest(folder)
    card = manifest.models.get(name)
    if card is None:
        raise UsageError(f"no model is called {name!r}", f"known are {', '.join(manifest.models)}")
    path = locate(card, folder)
    if path is not None and _state_of(name, card, manifest, folder).state == "here":
        return path
    if card.hub is None:
        raise DepthdError(f"{name} is on no hub", f"bring {card.file} and put it into {folder}: {card.origin}")
    if card.ask_licence and not accept_license:
        raise UsageError(f"the licence of {name} is {card.licence}", "give --accept-license if your use is within it")
    incoming = folder / ".incoming" / name
    try:
        incoming.mkdir(parents=True, exist_ok=True)
        if card.checkpoint:
            fetched = _fetch_checkpoint(card, card.hub, incoming, folder, endpoint, export, note)
        else:
            fetched = _fetch_files(name, card, card.hub, incoming, folder, manifest, endpoint, note)
        _put_in_place(fetched, folder)
    except OSError as error:
        raise _disk_error(error, folder) from None
    shutil.rmtree(incoming, ignore_errors=True)
    with contextlib.suppress(OSError):  # another download may be under way there
        incoming.parent.rmdir()
    return folder / card.file


def add(
    file: Path,
    output_kind: str,
    folder: Path | None = None,
    name: str | None = None,
    multiple_px: int = 14,
    short_side_px: int = 518,
    licence: str = "unknown",
    inputs: tuple[str, str] | None = None,
) -> ModelCard:
    """Copies an .onnx file into the weights folder and writes a card for it into local.yaml.

    inputs: the names of the left and the right one, of a stereo network (output kind disparity).
    Raises UsageError, and DepthdError for a file that is no network.
    """
    folder = folder or WEIGHTS_DIR
    if not file.is_file():
        raise UsageError(f"there is no file {file}", "give the .onnx file to add")
    if output_kind == "disparity" and inputs is None:
        raise UsageError("a stereo network has two inputs", "name them: --inputs LEFT RIGHT")
    name = name or file.stem
    manifest = load_manifest(folder)
    known, own = manifest.models.get(name), _local_manifest(folder).models
    if known is not None and (name not in own or known.sha256 != checksum(file)):
        raise UsageError(f"another model is called {name}", "give --name")
    card = config_file.build(
        ModelCard,
        {
            "title": name,
            "file": f"{name}.onnx",
            "sha256": checksum(file),
            "licence": licence,
            "origin": f"added from {file.name}",
            "output_kind": output_kind,
            "size": {"multiple_px": multiple_px, "short_side_px": short_side_px},
            **({"input": inputs[0], "right_input": inputs[1]} if inputs else {}),
        },
        remedy="see `depthd weights add --help`",
    )
    _must_run(Model(name, card, file))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{name}.onnx.{os.getpid()}"
        shutil.copyfile(file, temporary)
        temporary.replace(folder / card.file)
    except OSError as error:
        raise _disk_error(error, folder) from None
    local = _local_manifest(folder)
    _write_local(folder, local.model_copy(update={"models": {**local.models, name: card}}))
    return card


def _must_run(model: Model) -> None:
    """Raises DepthdError for a file that is no network from a picture to a map at the size its card gives, or, with
    two inputs, no network.
    """
    from depthd.mono.onnx import OnnxEngine, open_session

    if model.card.right_input is not None:
        open_session(model)
        return
    engine = OnnxEngine(model)
    engine.prepare(720, 1280)
    engine.close()


def _state_of(name: str, card: ModelCard, manifest: Manifest, folder: Path | None) -> ModelState:
    path = locate(card, folder)
    if path is None:
        return ModelState(name, card, "absent", "")
    try:
        verify_files(card, path, manifest)
    except DepthdError as error:
        return ModelState(name, card, "damaged", error.what)
    return ModelState(name, card, "here", str(path))


# Fetching


def _fetch_files(
    name: str,
    card: ModelCard,
    hub: HubFile,
    incoming: Path,
    folder: Path,
    manifest: Manifest,
    endpoint: str | None,
    note: Callable[[str], None],
) -> dict[str, Path]:
    """File in the weights folder -> where it now lies, checked; data files first, so that the model comes
    last.
    """
    place = Path(card.file)
    wanted = [(str(place.with_name(n)), str(Path(hub.path).with_name(n)), s) for n, s in card.data_files.items()]
    wanted.append((card.file, hub.path, card.sha256))
    fetched: dict[str, Path] = {}
    for file, path_on_hub, on_card in wanted:
        expected = manifest.expected_sha256(file, on_card)
        by_hand = _by_hand(hub, path_on_hub, folder, file, expected)
        fetched[file] = _fetch(hub, path_on_hub, incoming, endpoint, by_hand)
        if expected is None:
            note(_pin(folder, file, checksum(fetched[file])))
            continue
        try:
            verify_checksum(fetched[file], expected)
        except DepthdError as error:
            shutil.rmtree(incoming, ignore_errors=True)
            raise DepthdError(
                f"the hub sent another {path_on_hub} than the card of {name} names: {error.what}",
                "try again, or check which mirror HF_ENDPOINT names; nothing was put in place",
            ) from None
    return fetched


def _fetch_checkpoint(
    card: ModelCard,
    hub: HubFile,
    incoming: Path,
    folder: Path,
    endpoint: str | None,
    export: Callable[[Path, Path], None] | None,
    note: Callable[[str], None],
) -> dict[str, Path]:
    if export is None:
        from depthd.mono.export import export_onnx, require_transformers

        require_transformers()
        export = export_onnx
    by_hand = (
        f"bring {', '.join(CHECKPOINT_FILES)} of {hub.repository} at revision {hub.revision} from another machine into "
        f"a folder, and run `depthd weights export-onnx FOLDER -o {folder / card.file}` and "
        f"`depthd weights verify --folder {folder}`"
    )
    for file in CHECKPOINT_FILES:
        path_on_hub = f"{hub.path}/{file}" if hub.path else file
        _fetch(hub, path_on_hub, incoming, endpoint, by_hand)
    exported = incoming / "exported.onnx"
    export(incoming / hub.path, exported)
    note(_pin(folder, card.file, checksum(exported)))
    return {card.file: exported}


def _fetch(hub: HubFile, path_on_hub: str, incoming: Path, endpoint: str | None, by_hand: str) -> Path:
    """Fetches one file. Raises DepthdError that says how to bring it by hand."""
    library = _import_hub()
    where = f"{hub.repository}/{path_on_hub} at {hub.revision[:12]}"
    try:
        # One request without retries first: a hub that is not there or has no such file is known at once.
        address = library.hf_hub_url(hub.repository, path_on_hub, revision=hub.revision, endpoint=endpoint)
        library.get_hf_file_metadata(address, timeout=10)
        found = library.hf_hub_download(
            hub.repository, path_on_hub, revision=hub.revision, local_dir=incoming, endpoint=endpoint
        )
    except library.errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise DepthdError(f"the hub answers {status} for {where}", by_hand) from None
    except OSError as error:
        if error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise
        raise DepthdError(f"cannot fetch {where}: {_one_line(error)}", by_hand) from None
    except Exception as error:  # the HTTP library's own classes, which differ between versions of the hub's library
        raise DepthdError(f"cannot fetch {where}: {_one_line(error)}", by_hand) from None
    return Path(found)


def _import_hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise DepthdError("huggingface_hub is not installed", "pip install 'depthd[weights]'") from None
    return huggingface_hub


def _by_hand(hub: HubFile, path_on_hub: str, folder: Path, file: str, sha256: str | None) -> str:
    check = f" (SHA-256 {sha256})" if sha256 else ""
    return (
        f"bring {path_on_hub} of {hub.repository} at revision {hub.revision}{check} from another machine, "
        f"save it as {folder / file}, and run `depthd weights verify --folder {folder}`"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _disk_error(error: OSError, folder: Path) -> DepthdError:
    return DepthdError(
        f"cannot write into {folder}: {error.strerror or _one_line(error)}",
        "make room or choose another folder with --folder; what was there before is untouched",
    )


def _put_in_place(fetched: dict[str, Path], folder: Path) -> None:
    for file, path in fetched.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        path.replace(folder / file)


# local.yaml


def _local_manifest(folder: Path) -> Manifest:
    path = folder / LOCAL_MANIFEST
    return read_manifest(path) if path.is_file() else Manifest()


def _pin(folder: Path, file: str, sha256: str) -> str:
    """Returns what was done, for the user."""
    local = _local_manifest(folder)
    _write_local(folder, local.model_copy(update={"pins": {**local.pins, file: sha256}}))
    return (
        f"{Path(file).name} had no checksum to compare with; {folder / LOCAL_MANIFEST} now holds it to {sha256[:12]}…"
    )


def _write_local(folder: Path, local: Manifest) -> None:
    path = folder / LOCAL_MANIFEST
    temporary = path.with_name(f".{LOCAL_MANIFEST}.{os.getpid()}")
    tree = local.model_dump(mode="json", exclude_defaults=True)
    head = "# Models fetched or added on this machine; written by `depthd weights`.\n"
    try:
        temporary.write_text(head + yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise _disk_error(error, folder) from None
