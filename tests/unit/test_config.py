"""Reading, refusing and printing the configuration."""

import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic.fields import FieldInfo

from depthd import config
from depthd.config import Config
from depthd.config_file import Section
from depthd.errors import UsageError
from depthd.paths import CONFIG_DIR


def written(folder: Path, text: str) -> Path:
    path = folder / "robot.yaml"
    path.write_text(text)
    return path


def refusal(path: Path | None = None, overrides: list[str] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        config.load(path, overrides)
    return str(caught.value)


def test_no_file_means_all_defaults() -> None:
    assert config.load() == Config()


def test_an_empty_file_and_an_empty_section_mean_defaults(tmp_path: Path) -> None:
    assert config.load(written(tmp_path, "")) == Config()
    assert config.load(written(tmp_path, "mono:\ncamera:\n  # fps: 30\n")) == Config()


def test_the_file_of_every_knob_is_what_the_code_prints() -> None:
    printed = config.default_yaml()
    assert (CONFIG_DIR / "depthd.yaml").read_text() == printed, "run: python -m depthd.config > config/depthd.yaml"


def test_the_file_of_every_knob_reads_as_the_defaults() -> None:
    assert config.load(CONFIG_DIR / "depthd.yaml") == Config()


def test_every_shipped_configuration_is_valid() -> None:
    for path in CONFIG_DIR.glob("*.yaml"):
        config.load(path)


def knobs(section: type[Section], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field below a section, those of all kinds of camera included."""
    for name, field in section.model_fields.items():
        yield f"{above}{name}", field
        for inner in (field.annotation, *typing.get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from knobs(inner, f"{above}{name}.")


def test_every_knob_is_explained() -> None:
    silent = [path for path, field in knobs(Config) if not field.description and path != "fusion.backend"]
    assert silent == []


def test_an_unknown_key_is_named_with_its_path_its_line_and_a_near_key(tmp_path: Path) -> None:
    path = written(tmp_path, "mono:\n  model: depthd-small\n  thread: 4\n")
    message = refusal(path)
    assert message.startswith(f"mono.thread: unknown key; did you mean threads? ({path} line 3)")
    assert "\n" not in message


def test_a_wrong_value_is_named_with_its_path_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, "camera:\n  kind: virtual\n  fps: fast\n")
    assert refusal(path).startswith("camera.fps: should be a valid number")
    assert f"not 'fast' ({path} line 3)" in refusal(path)


def test_several_errors_are_listed_one_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, "mono:\n  threads: -1\nshared_memory:\n  slots: 2\n  planes: [left, wright]\nnam: x\n")
    lines = refusal(path).splitlines()
    assert lines[0] == "4 keys are wrong:"
    found = sorted(line.strip().split(":")[0] for line in lines[1:])
    assert found == ["mono.threads", "nam", "shared_memory.planes[1]", "shared_memory.slots"]
    assert all(f"{path} line " in line for line in lines[1:])


def test_true_is_no_number(tmp_path: Path) -> None:
    path = written(tmp_path, "mono:\n  threads: true\n")
    assert refusal(path).startswith(f"mono.threads: should not be true ({path} line 2)")


@pytest.mark.parametrize("text", ["camera:\n  fps: .inf\n", "camera:\n  fps: .nan\n"])
def test_infinite_rates_are_refused(tmp_path: Path, text: str) -> None:
    assert refusal(written(tmp_path, text)).startswith("camera.fps: ")


def test_an_unknown_kind_lists_the_kinds(tmp_path: Path) -> None:
    path = written(tmp_path, "camera:\n  kind: zedd\n")
    message = refusal(path)
    assert message.startswith("camera.kind: should be one of 'virtual', 'recording'")
    assert f"not 'zedd' ({path} line 2)" in message


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\ncamera:\n  kind: recording\n")
    assert refusal(path).startswith(f"camera.path: missing, and it has no default ({path} line 2)")


def test_a_value_where_a_section_belongs_is_refused(tmp_path: Path) -> None:
    assert refusal(written(tmp_path, "mono: 3\n")).startswith("mono: should be a section")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mono: [1, 2\n", "line 2 is not YAML"),
        ("- a\n", "holds no `key: value` lines"),
        ("mono:\n  threads: 1\n  threads: 2\n", "mono.threads is given twice"),
        ("a: \x07\n", "is not YAML"),
    ],
)
def test_a_file_that_is_no_tree_ends_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    message = refusal(written(tmp_path, text))
    assert expected in message
    assert "\n" not in message
    assert "robot.yaml" in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "absent.yaml")
    binary = tmp_path / "picture.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x80")
    assert "is not a text file" in refusal(binary)


def test_overrides_win_over_the_file_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, "mono:\n  threads: 3\n")
    assert config.load(path, ["mono.threads=4", "mono.threads=5"]).mono.threads == 5


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("shared_memory.planes=[left, mono]", lambda c: c.shared_memory.planes == ("left", "mono")),
        ("shared_memory.mode=0o600", lambda c: c.shared_memory.mode == 0o600),
        ("camera.fps=1e1", lambda c: c.camera.fps == 10.0),
        ("mono.short_side_px=null", lambda c: c.mono.short_side_px is None),
        ("camera.real_time=false", lambda c: c.camera.real_time is False),
        ("name=kitchen.left-2", lambda c: c.name == "kitchen.left-2"),
    ],
)
def test_overrides_are_yaml(override: str, read) -> None:
    assert read(config.load(None, [override]))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("mono.threads", "has not the form key.path=value"),
        ("=3", "has not the form key.path=value"),
        ("mono..threads=3", "has not the form key.path=value"),
        ("mono.threads=[", "is not a YAML value"),
        (
            "mono.threads=-1",
            "mono.threads: should be greater than or equal to 0, not -1 (--set mono.threads=-1)",
        ),
        ("mono.model.name=x", "mono.model"),
        ("mnoo.threads=1", "mnoo: unknown key; did you mean mono? (--set"),
    ],
)
def test_a_wrong_override_is_refused_in_one_line(override: str, expected: str) -> None:
    message = refusal(None, [override])
    assert expected in message
    assert "\n" not in message


def test_an_override_of_the_kind_leaves_the_keys_of_the_old_kind_behind() -> None:
    loaded = config.load(CONFIG_DIR / "depthd.yaml", ["camera.kind=recording", "camera.path=pictures"])
    assert loaded.camera.kind == "recording"
    assert loaded.camera.path == Path("pictures")


def test_a_key_of_another_kind_is_refused() -> None:
    assert refusal(None, ["camera.path=pictures"]).startswith("camera.path: unknown key")


def test_the_printed_tree_shows_the_default_beside_a_changed_value() -> None:
    text = config.to_yaml(config.load(None, ["mono.threads=7"]))
    assert "Default 2." in text
    assert yaml.safe_load(text)["mono"]["threads"] == 7
