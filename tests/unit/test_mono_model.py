"""Model cards and finding a model's file."""

import os
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from depthd.errors import DepthdError, UsageError
from depthd.mono.checksum import checksum, verify_checksum
from depthd.mono.model import Manifest, SizeRule, default_card, find_model, read_manifest
from depthd.paths import WEIGHTS_DIR

SMALL = WEIGHTS_DIR / "depthd-small.onnx"


def test_the_embedded_model_is_the_one_its_card_means() -> None:
    model = find_model("depthd-small")
    assert model.path == SMALL
    assert model.card.output_kind == "relative_inverse"
    assert checksum(SMALL) == model.card.sha256


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no model is called 'depth-small'; known are depthd-small"):
        find_model("depth-small")


def test_a_file_is_recognised_by_its_checksum(tmp_path: Path) -> None:
    copy = tmp_path / "renamed.onnx"
    shutil.copy(SMALL, copy)
    assert find_model(str(copy)).card == find_model("depthd-small").card


def test_a_file_without_a_card_is_used_like_depth_anything_v2(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    model = find_model(str(other))
    assert model.name == "other"
    assert model.card == default_card("other.onnx")
    assert model.card.size == SizeRule(multiple_px=14, short_side_px=518)


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        find_model(str(tmp_path / "absent.onnx"))


def test_a_model_whose_file_is_absent_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DepthdError, match=r"the file n\.onnx of model n is not here; a file given by its path"):
        find_model("n", Manifest(models={"n": default_card("n.onnx")}), tmp_path)
    with pytest.raises(DepthdError, match="is not here; depthd weights pull depth-anything-v2-small"):
        find_model("depth-anything-v2-small", folder=tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    content = bytearray(SMALL.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / SMALL.name).write_bytes(content)
    with pytest.raises(DepthdError, match="damaged or another version"):
        find_model("depthd-small", folder=tmp_path)


def test_a_file_changed_after_its_first_check_is_checked_again(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"one")
    first = checksum(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert checksum(path) != first


def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"one")
    first = checksum(path)
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert checksum(path) == first


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"one")
    tmp_path.chmod(0o500)
    assert checksum(path) == checksum(path)


def test_a_note_that_is_garbage_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"one")
    (tmp_path / ".a.onnx.sha256").write_text("[]")
    verify_checksum(path, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed")


def test_a_size_rule_has_exactly_one_aim() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        SizeRule(multiple_px=14)
    with pytest.raises(ValidationError, match="exactly one"):
        SizeRule(multiple_px=14, area_px=1, short_side_px=1)


def test_a_wrong_card_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    text = (WEIGHTS_DIR / "manifest.yaml").read_text()
    path.write_text(text.replace("output_kind: relative_inverse", "output_kind: nearness", 1))
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "output_kind" in row)
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    message = str(caught.value)
    assert message.startswith("models.depthd-small.output_kind: should be 'relative_inverse'")
    assert f"line {line}" in message


def test_a_network_is_one_entry_in_the_manifest(tmp_path: Path) -> None:
    card = default_card("n.onnx")
    (tmp_path / "n.onnx").write_bytes(b"x")
    assert find_model("n", Manifest(models={"n": card}), tmp_path).card is card
