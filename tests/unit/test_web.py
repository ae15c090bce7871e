"""The live page's server without a browser: its words, its size, who waits for whom."""

from __future__ import annotations

import asyncio
import json
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthd.errors import UsageError
from depthd.web import access, encode, health
from depthd.web.encode import EncodedFrame, Part
from depthd.web.hub import IN_FLIGHT, Demand, Hub, Viewer
from depthd.web.watcher import Watcher

STATIC = Path(access.__file__).parent / "static"


def words() -> dict[str, set[str]]:
    text = (STATIC / "js" / "i18n.js").read_text(encoding="utf-8")
    blocks = dict(zip(("en", "ja"), re.findall(r"^  (?:en|ja): \{(.*?)^  \},", text, re.M | re.S), strict=True))
    return {language: set(re.findall(r'(?:^|, )\s*(\w+): "', block, re.M)) for language, block in blocks.items()}


def test_every_word_stands_in_both_languages():
    assert words()["en"] == words()["ja"]


def test_every_word_that_the_page_uses_is_there():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    used = set(re.findall(r'data-i18n(?:-title|-label)?="(\w+)"', page))
    scripts = "".join(path.read_text(encoding="utf-8") for path in (STATIC / "js").glob("*.js"))
    used |= set(re.findall(r'\bt\("(\w+)"\)', scripts))
    assert used <= words()["en"], used - words()["en"]


def test_the_whole_page_is_smaller_than_a_megabyte():
    served = [path for path in STATIC.rglob("*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(served) > 10
    assert sum(path.stat().st_size for path in served) < 1_000_000


def test_vendored_libraries_come_with_their_licences():
    for folder in (STATIC / "vendor").iterdir():
        assert folder.is_file() or (folder / "LICENSE").read_text(encoding="utf-8")


class Nobody:
    async def send_bytes(self, data: bytes) -> None: ...
    async def send_str(self, data: str) -> None: ...


def frame(number: int) -> EncodedFrame:
    return EncodedFrame({"id": number}, {"depth": Part("depth", 1, 1, b"abc"), "left": Part("picture", 1, 1, b"xy")})


def test_a_message_can_be_taken_apart_as_the_page_does():
    message = frame(7).message({"left", "depth", "mono"})
    (length,) = struct.unpack_from("<I", message)
    header = json.loads(message[4 : 4 + length])
    assert header["id"] == 7
    parts = {part["name"]: part for part in header["parts"]}
    assert set(parts) == {"left", "depth"}
    for name, data in (("left", b"xy"), ("depth", b"abc")):
        begin = 4 + length + parts[name]["offset"]
        assert begin % 4 == 0
        assert message[begin : begin + parts[name]["length"]] == data


def test_viewers_that_want_the_same_get_the_same_bytes():
    encoded = frame(1)
    assert encoded.message({"left"}) is encoded.message({"left", "mono"})
    assert encoded.message({"left"}) is not encoded.message({"depth"})


def viewer_of(hub: Hub, *parts: str) -> Viewer:
    viewer = Viewer(Nobody())
    hub.add(viewer)
    hub.handle(viewer, {"type": "want", "parts": list(parts)})
    return viewer


def take(viewer: Viewer) -> bytes | None:
    message, viewer.next_message = viewer.next_message, None
    return message


def test_a_viewer_that_does_not_draw_gets_no_more_and_then_the_newest():
    hub = Hub()
    viewer = viewer_of(hub, "left")
    for number in range(IN_FLIGHT):
        hub.publish(frame(number), held=False)
        assert take(viewer)
    assert not hub.demand(0.0)
    hub.publish(frame(98), held=False)
    assert take(viewer) is None
    hub.handle(viewer, {"type": "ack"})
    assert hub.demand(0.0).parts == {"left"}
    hub.publish(frame(99), held=False)
    assert b'"id": 99' in (take(viewer) or b"")


def test_the_next_frame_is_wanted_while_one_is_on_its_way_and_a_newer_one_takes_the_place_of_one_not_yet_sent():
    hub = Hub()
    viewer = viewer_of(hub, "left")
    hub.publish(frame(1), held=False)
    assert hub.demand(0.0).parts == {"left"}
    hub.publish(frame(2), held=False)
    assert viewer.in_flight == 1
    assert b'"id": 2' in (take(viewer) or b"")
    hub.publish(frame(3), held=False)
    assert not hub.demand(0.0)


def test_a_slow_viewer_does_not_hold_up_another():
    hub = Hub()
    slow, quick = viewer_of(hub, "left"), viewer_of(hub, "depth")
    for number in range(10):
        hub.publish(frame(number), held=False)
        assert take(quick)
        hub.handle(quick, {"type": "ack"})
    assert slow.next_message is not None


def test_nothing_is_encoded_while_nobody_looks():
    hub = Hub()
    assert not hub.demand(0.0)
    viewer = viewer_of(hub, "left", "no such part")
    assert hub.demand(0.0).parts == {"left"}
    hub.remove(viewer)
    assert not hub.demand(0.0)


def test_a_held_page_gets_one_frame_that_the_server_keeps_and_then_none():
    hub = Hub()
    viewer = viewer_of(hub, "left")
    hub.handle(viewer, {"type": "hold"})
    assert hub.demand(0.0).hold
    hub.publish(frame(1), held=False)
    assert take(viewer) is None
    hub.publish(frame(2), held=True)
    assert b'"held": true' in (take(viewer) or b"")
    assert not hub.demand(0.0)
    hub.handle(viewer, {"type": "go"})
    assert hub.demand(0.0)
    assert not hub.demand(0.0).hold


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_on_loopback_no_token_is_needed(address: str):
    assert access.token_for(address, None) is None


def test_any_other_address_gets_a_token_of_its_own():
    first, second = (access.token_for("0.0.0.0", None) for _ in range(2))
    assert first
    assert second
    assert first != second
    with pytest.raises(UsageError):
        access.token_for("127.0.0.1", "short")


def test_a_token_is_the_first_line_of_its_file(tmp_path: Path):
    file = tmp_path / "token"
    file.write_text("correct-horse-battery\n")
    assert access.token_in(file) == "correct-horse-battery"
    file.write_text("\n")
    for wrong in (file, tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError):
            access.token_in(wrong)


class PublishedFrame:
    """What the encoder asks of a frame of shared memory."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.left = cv2.GaussianBlur(generator.integers(0, 256, (90, 160, 3), dtype=np.uint8), (0, 0), 5)
        self.depth = generator.uniform(0.5, 4.0, (90, 160)).astype(np.float32)


@pytest.mark.parametrize(("picture", "begin"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_the_picture_is_coded_as_asked_and_is_the_picture(picture: str, begin: bytes):
    frame = PublishedFrame()
    part = encode._left(frame, picture)  # type: ignore[arg-type]
    assert part is not None
    assert part.data.startswith(begin)
    decoded = cv2.imdecode(np.frombuffer(part.data, np.uint8), cv2.IMREAD_COLOR)
    assert cv2.PSNR(decoded, frame.left) > 30


def test_samples_come_with_some_frames_and_always_with_one_that_is_kept():
    loop = asyncio.new_event_loop()
    loop.close()
    watcher = Watcher("nobody", Hub(), loop, 30.0)
    parts = frozenset({"depth", "samples"})
    assert watcher._due(Demand(parts)) == parts
    assert watcher._due(Demand(parts)) == {"depth"}
    assert watcher._due(Demand(parts, hold=True)) == parts
    assert watcher._due(Demand(frozenset({"depth"}))) == {"depth"}


def test_temperatures_are_those_of_the_zones_and_else_of_the_sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "_THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(health, "_SENSORS", tmp_path / "hwmon")
    assert health.temperatures_c() == {}
    files = {
        "hwmon/hwmon0/name": "k10temp\n",
        "hwmon/hwmon0/temp1_input": "51250\n",
        "hwmon/hwmon1/temp1_input": "1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert health.temperatures_c() == {"k10temp": 51.25}
    (tmp_path / "thermal" / "thermal_zone0").mkdir(parents=True)
    (tmp_path / "thermal" / "thermal_zone0" / "type").write_text("CPU-therm\n")
    (tmp_path / "thermal" / "thermal_zone0" / "temp").write_text("43500\n")
    assert health.temperatures_c() == {"CPU-therm": 43.5}
