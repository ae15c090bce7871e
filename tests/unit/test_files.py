"""Files are whole or absent."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from depthd.errors import DepthdError
from depthd.files import folder_written_whole, written_whole


def break_off_writing(folder: Path) -> None:
    """Writes a file there and fails before the end."""
    with contextlib.suppress(KeyError), folder_written_whole(folder) as part:
        (part / "one").write_text("new")
        raise KeyError


def test_a_new_folder_appears_with_everything_in_it(tmp_path: Path):
    with folder_written_whole(tmp_path / "a" / "out") as part:
        (part / "one").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert (tmp_path / "a" / "out" / "one").read_text() == "1"
    assert os.listdir(tmp_path / "a") == ["out"]


def test_an_error_leaves_nothing_behind(tmp_path: Path):
    break_off_writing(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_an_error_leaves_the_old_results_as_they_were(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").write_text("old")
    break_off_writing(tmp_path / "out")
    assert (tmp_path / "out" / "one").read_text() == "old"


def test_a_folder_that_exists_gets_the_new_files_and_keeps_the_others(tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "one").write_text("old")
    (tmp_path / "out" / "mine").write_text("mine")
    with folder_written_whole(tmp_path / "out") as part:
        (part / "one").write_text("new")
    assert (tmp_path / "out" / "one").read_text() == "new"
    assert (tmp_path / "out" / "mine").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DepthdError, match="out is a file"), folder_written_whole(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DepthdError, match="cannot write"), folder_written_whole(tmp_path / "file" / "out"):
        pass


def test_a_file_replaces_the_old_one_only_at_the_end(tmp_path: Path):
    path = tmp_path / "picture.png"
    path.write_text("old")
    with written_whole(path) as part:
        part.write_text("new")
        assert part.suffix == ".png"
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["picture.png"]
