"""Fetching, checking and adding models, against a hub on loopback."""

import hashlib
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fakes.hub import LoopbackHub
from onnx import TensorProto, helper, save

from depthd import weights
from depthd.errors import DepthdError, UsageError
from depthd.mono.model import LOCAL_MANIFEST, ModelCard, find_model, load_manifest
from depthd.paths import WEIGHTS_DIR

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'depthd[weights]'")

CONTENT = bytes(range(256)) * 4096  # 1 MiB
CARD = {
    "title": "a test",
    "file": "tested.onnx",
    "hub": {
        "repository": "someone/net",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "path": "onnx/m.onnx",
    },
    "licence": "Apache-2.0",
    "origin": "a test",
    "output_kind": "relative_inverse",
    "size": {"multiple_px": 14, "short_side_px": 518},
}


def folder_with(folder: Path, **changes: object) -> Path:
    """A weights folder whose local.yaml has one more model, `tested`."""
    card = {**CARD, "sha256": hashlib.sha256(CONTENT).hexdigest(), **changes}
    (folder / LOCAL_MANIFEST).write_text(yaml.safe_dump({"models": {"tested": card}}))
    return folder


def left_overs(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".sha256") and p.name != LOCAL_MANIFEST)


def break_quickly(monkeypatch) -> None:
    """The hub's library keeps whole blocks of 10 MB and waits between tries; not here."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.fixture
def hub():
    with LoopbackHub({"someone/net/onnx/m.onnx": CONTENT}) as hub:
        yield hub


def test_a_model_is_fetched_checked_and_put_in_place(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = folder_with(tmp_path)
    path = weights.pull("tested", folder, endpoint=hub.endpoint)
    assert path.read_bytes() == CONTENT
    assert left_overs(folder) == ["tested.onnx"]
    assert find_model("tested", folder=folder).path == path


def test_a_model_that_is_here_is_not_fetched_again(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = folder_with(tmp_path)
    weights.pull("tested", folder, endpoint=hub.endpoint)
    asked = len(hub.requests)
    weights.pull("tested", folder, endpoint=hub.endpoint)
    assert len(hub.requests) == asked


def test_a_damaged_file_is_fetched_anew(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = folder_with(tmp_path)
    (folder / "tested.onnx").write_bytes(CONTENT[:-1])
    assert {s.name: s.state for s in weights.list_models(folder)}["tested"] == "damaged"
    weights.pull("tested", folder, endpoint=hub.endpoint)
    assert {s.name: s.state for s in weights.list_models(folder)}["tested"] == "here"


def test_a_cut_connection_is_resumed_where_it_broke(tmp_path: Path, hub: LoopbackHub, monkeypatch) -> None:
    break_quickly(monkeypatch)
    hub.cuts = [300_000, 200_000]
    path = weights.pull("tested", folder_with(tmp_path), endpoint=hub.endpoint)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in hub.gets][1:] == ["bytes=300000-", "bytes=500000-"]


def test_a_download_given_up_leaves_the_old_file_and_no_parts(tmp_path: Path, hub: LoopbackHub, monkeypatch) -> None:
    break_quickly(monkeypatch)
    folder = folder_with(tmp_path)
    (folder / "tested.onnx").write_bytes(b"old")
    hub.cuts = [100_000] + [0] * 20
    with pytest.raises(DepthdError, match=r"cannot fetch someone/net/onnx/m\.onnx"):
        weights.pull("tested", folder, endpoint=hub.endpoint)
    assert (folder / "tested.onnx").read_bytes() == b"old"
    hub.cuts = []
    assert weights.pull("tested", folder, endpoint=hub.endpoint).read_bytes() == CONTENT
    assert left_overs(folder) == ["tested.onnx"]


def test_another_file_than_the_card_means_is_refused_and_removed(tmp_path: Path, hub: LoopbackHub) -> None:
    hub.files["someone/net/onnx/m.onnx"] = CONTENT[::-1]
    folder = folder_with(tmp_path)
    with pytest.raises(DepthdError, match=r"the hub sent another onnx/m\.onnx than the card of tested names"):
        weights.pull("tested", folder, endpoint=hub.endpoint)
    assert not (folder / "tested.onnx").exists()
    hub.files["someone/net/onnx/m.onnx"] = CONTENT
    assert weights.pull("tested", folder, endpoint=hub.endpoint).read_bytes() == CONTENT


def test_a_file_without_a_known_checksum_is_pinned_when_first_fetched(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = folder_with(tmp_path, sha256=None)
    notes: list[str] = []
    path = weights.pull("tested", folder, endpoint=hub.endpoint, note=notes.append)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert load_manifest(folder).pins == {"tested.onnx": sha256}
    held = f"{folder / LOCAL_MANIFEST} now holds it to {sha256[:12]}…"
    assert notes == [f"tested.onnx had no checksum to compare with; {held}"]
    path.write_bytes(b"changed")
    with pytest.raises(DepthdError, match="damaged or another version"):
        find_model("tested", folder=folder)
    hub.files["someone/net/onnx/m.onnx"] = b"changed too"
    with pytest.raises(DepthdError, match="the hub sent another"):
        weights.pull("tested", folder, endpoint=hub.endpoint)


def test_a_file_brought_by_hand_without_a_known_checksum_is_pinned_when_first_verified(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, sha256=None)
    (folder / "tested.onnx").write_bytes(CONTENT)

    def verified() -> weights.ModelState:
        return next(state for state in weights.verify(folder) if state.name == "tested")

    assert "tested.onnx had no checksum to compare with" in verified().detail
    assert verified().detail == str(folder / "tested.onnx")
    (folder / "tested.onnx").write_bytes(b"changed")
    assert verified().state == "damaged"


@pytest.mark.parametrize("status", [404, 401, 403, 500])
def test_what_the_hub_answers_is_said_with_what_to_bring_by_hand(tmp_path, hub: LoopbackHub, status: int) -> None:
    hub.status = status
    folder = folder_with(tmp_path)
    with pytest.raises(DepthdError) as caught:
        weights.pull("tested", folder, endpoint=hub.endpoint)
    message = str(caught.value)
    assert str(status) in message
    assert f"bring onnx/m.onnx of someone/net at revision {CARD['hub']['revision']}" in message
    assert hashlib.sha256(CONTENT).hexdigest() in message
    assert f"save it as {folder / 'tested.onnx'}" in message
    assert "\n" not in message


def test_no_network_says_which_file_to_bring_and_where_to_put_it(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        folder = folder_with(tmp_path)
        with pytest.raises(DepthdError) as caught:
            weights.pull("tested", folder, endpoint=endpoint)
    assert f"save it as {folder / 'tested.onnx'}, and run `depthd weights verify --folder {folder}`" in str(
        caught.value
    )


def test_what_was_brought_by_hand_is_taken(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "tested.onnx").write_bytes(CONTENT)
    assert {s.name: s.state for s in weights.verify(folder)}["tested"] == "here"
    assert weights.pull("tested", folder, endpoint="http://127.0.0.1:9") == folder / "tested.onnx"


def test_verify_reads_the_files_anew(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    path = folder / "tested.onnx"
    path.write_bytes(CONTENT)
    weights.verify(folder)
    before = path.stat()
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert {s.name: s.state for s in weights.verify(folder)}["tested"] == "damaged"


def test_data_files_come_with_the_model(tmp_path: Path, hub: LoopbackHub) -> None:
    hub.files["someone/net/onnx/m.onnx_data"] = b"data"
    sha256 = hashlib.sha256(b"data").hexdigest()
    folder = folder_with(tmp_path, file="tested/m.onnx", data_files={"m.onnx_data": sha256})
    path = weights.pull("tested", folder, endpoint=hub.endpoint)
    assert path.with_name("m.onnx_data").read_bytes() == b"data"
    path.with_name("m.onnx_data").unlink()
    with pytest.raises(DepthdError, match=r"which belongs to m\.onnx, is not there"):
        find_model("tested", folder=folder)


def test_a_licence_that_forbids_commercial_use_must_be_accepted(tmp_path: Path, hub: LoopbackHub) -> None:
    folder = folder_with(tmp_path, licence="CC-BY-NC-4.0", ask_licence=True)
    with pytest.raises(UsageError, match=r"the licence of tested is CC-BY-NC-4\.0; give --accept-license"):
        weights.pull("tested", folder, endpoint=hub.endpoint)
    assert hub.requests == []
    assert weights.pull("tested", folder, accept_license=True, endpoint=hub.endpoint).is_file()


def test_an_unknown_model_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="known are depthd-small, depth-anything-v2-small"):
        weights.pull("depth-anything-v4", tmp_path)


def test_a_checkpoint_is_fetched_whole_and_exported(tmp_path: Path, hub: LoopbackHub) -> None:
    for name in weights.CHECKPOINT_FILES:
        hub.files[f"someone/net/{name}"] = name.encode()
    folder = folder_with(tmp_path, sha256=None, checkpoint=True, hub={**CARD["hub"], "path": ""})
    seen = []

    def export(checkpoint: Path, out: Path) -> None:
        seen.extend(sorted(p.name for p in checkpoint.iterdir() if p.is_file()))
        out.write_bytes(b"exported")

    path = weights.pull("tested", folder, endpoint=hub.endpoint, export=export)
    assert seen == sorted(weights.CHECKPOINT_FILES)
    assert path.read_bytes() == b"exported"
    assert load_manifest(folder).pins == {"tested.onnx": hashlib.sha256(b"exported").hexdigest()}


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path, hub: LoopbackHub) -> None:
    """A limit on the size of files stands in for the full disk; the kernel refuses the write in the same
    place.
    """
    folder = folder_with(tmp_path)
    (folder / "tested.onnx").write_bytes(b"old")
    program = (
        "import sys, pathlib; from depthd import weights; from depthd.errors import DepthdError\n"
        "try: weights.pull('tested', pathlib.Path(sys.argv[1]), endpoint=sys.argv[2])\n"
        "except DepthdError as error: print('refused:', error)"
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), hub.endpoint],
        capture_output=True, text=True, timeout=60, preexec_fn=limit,
    )  # fmt: skip
    assert done.stdout.startswith(f"refused: cannot write into {folder}: File too large"), done.stderr
    assert (folder / "tested.onnx").read_bytes() == b"old"


def write_network(path: Path, inputs: tuple[str, ...] = ("x",), seed: int = 0, rank: int = 4) -> Path:
    """The mean over the channels of the first input, times a number."""
    shape = ["n", 3, "h", "w"][:rank]
    nodes = [
        helper.make_node("ReduceMean", [inputs[0]], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["y"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "h", "w"][: rank - 1])
    factor = helper.make_tensor("factor", TensorProto.FLOAT, [], [1.0 + seed])
    graph = helper.make_graph(nodes, "g", values, [out], [factor])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_file_is_added_with_a_card_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    mine = write_network(tmp_path / "mine.onnx")
    card = weights.add(mine, "metric_depth", folder, multiple_px=16, short_side_px=320)
    model = find_model("mine", folder=folder)
    assert model.card == card
    assert card.output_kind == "metric_depth"
    assert model.path.read_bytes() == mine.read_bytes()
    assert weights.add(mine, "metric_depth", folder) is not None
    write_network(mine, seed=1)
    with pytest.raises(UsageError, match="another model is called mine"):
        weights.add(mine, "metric_depth", folder)


def test_a_file_takes_the_place_of_no_model_that_came_with_depthd(tmp_path: Path) -> None:
    shipped = WEIGHTS_DIR / "depthd-small.onnx"
    with pytest.raises(UsageError, match="another model is called depthd-small; give --name"):
        weights.add(shipped, "metric_depth", tmp_path)
    assert weights.add(shipped, "metric_depth", tmp_path, "mine", 32, 320).title == "mine"


def test_a_file_that_is_no_network_is_not_added(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    text = tmp_path / "text.onnx"
    text.write_bytes(CONTENT)
    with pytest.raises(DepthdError, match="is no model for ONNX Runtime"):
        weights.add(text, "metric_depth", folder)
    flat = write_network(tmp_path / "flat.onnx", rank=3)
    with pytest.raises(DepthdError, match="depthd needs one float32 input of rank 4"):
        weights.add(flat, "metric_depth", folder)
    assert not folder.exists()


def test_a_network_that_fails_at_the_size_given_is_not_added(tmp_path: Path) -> None:
    with pytest.raises(DepthdError, match="fails at 924x518 px"):
        weights.add(WEIGHTS_DIR / "depthd-small.onnx", "relative_inverse", tmp_path, "mine")
    assert not (tmp_path / "mine.onnx").exists()


def test_a_network_that_gives_more_than_a_map_is_not_added(tmp_path: Path) -> None:
    pixels = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    same = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, "h", "w"])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [pixels], [same])
    path = tmp_path / "colours.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with pytest.raises(DepthdError, match="depthd needs one float32 map per picture"):
        weights.add(path, "relative_inverse", tmp_path / "weights")


def test_a_wrong_output_kind_is_a_usage_error(tmp_path: Path) -> None:
    mine = write_network(tmp_path / "mine.onnx")
    with pytest.raises(UsageError, match="output_kind: should be 'relative_inverse', 'metric_depth', "):
        weights.add(mine, "nearness", tmp_path / "weights")


def test_a_stereo_network_names_both_its_inputs(tmp_path: Path) -> None:
    mine = write_network(tmp_path / "pair.onnx", inputs=("l", "r"))
    card = weights.add(mine, "disparity", tmp_path / "weights", inputs=("l", "r"))
    assert (card.input, card.right_input) == ("l", "r")
    with pytest.raises(UsageError, match="name them: --inputs LEFT RIGHT"):
        weights.add(mine, "disparity", tmp_path / "others")


def test_every_card_that_asks_for_nothing_is_free_and_every_other_says_why() -> None:
    free = {"Apache-2.0", "MIT"}
    for name, card in load_manifest().models.items():
        assert isinstance(card, ModelCard)
        assert (card.licence in free) != card.ask_licence, name
        assert card.hub is None or card.hub.revision == "main" or len(card.hub.revision) == 40, name


def test_the_embedded_model_is_here() -> None:
    state = next(s for s in weights.list_models() if s.name == "depthd-small")
    assert state.state == "here"
    assert state.detail == str(WEIGHTS_DIR / "depthd-small.onnx")


def test_the_commands_list_fetch_and_check(tmp_path: Path, hub: LoopbackHub) -> None:
    """In a process of its own, because the hub's library reads HF_ENDPOINT when it is imported."""
    folder = folder_with(tmp_path)
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "DEPTHD_WEIGHTS": str(folder), "COLUMNS": "200"}

    def run(*arguments: str) -> str:
        program = "from depthd.cli_weights import app; app()"
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = next(line for line in run("list").splitlines() if line.startswith("tested"))
    assert "absent" in listed
    assert run("pull", "tested").strip().endswith("tested.onnx")
    assert "tested: ok," in run("verify")
