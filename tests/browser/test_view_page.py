"""The live page in a real browser, with a real daemon behind it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthd import _codec
from depthd.export.panels import SOURCE_COLOURS_BGR

pytestmark = pytest.mark.slow

PIXELS = """(id) => {
  const canvas = document.getElementById(id);
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let i = 0; i < data.length; i += 4 * 101) text += String.fromCharCode(data[i], data[i + 1], data[i +
  2]);
  return [canvas.width, canvas.height, btoa(text)];
}"""


def pixels_of(page: Any, canvas: str) -> np.ndarray:
    """Every 101st pixel of a canvas, (n, 3) RGB."""
    import base64

    _width, _height, text = page.page.evaluate(PIXELS, canvas)
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 3)


def columns_of(page: Any, canvas: str, row: int) -> np.ndarray:
    """One row of a canvas, (width, 3) RGB."""
    values = page.look(f"""(() => {{
      const canvas = document.getElementById("{canvas}");
      return [...canvas.getContext("2d").getImageData(0, Math.min({row}, canvas.height - 1), canvas.width, 1).data];
    }})()""")
    return np.array(values, np.uint8).reshape(-1, 4)[:, :3]


def held_frame(page: Any, url: str) -> dict[str, np.ndarray]:
    """The exact planes of the frame that the page holds, from the server."""
    frame_id = page.look("depthd.frame().header.id")
    with urllib.request.urlopen(f"{url}frame.npz?id={frame_id}") as answer:
        planes = dict(np.load(io.BytesIO(answer.read())))
    assert json.loads(str(planes["about"]))["id"] == frame_id
    return planes


def test_every_panel_shows_the_pixels_of_the_frame(page: Any, server: Any):
    page.freeze()
    planes = held_frame(page, server.url)

    left = pixels_of(page, "grid-left").astype(int)
    wanted = planes["left"].reshape(-1, 3)[::101, ::-1].astype(int)
    assert np.abs(left - wanted).mean() < 4

    sources = np.array([SOURCE_COLOURS_BGR[s][::-1] for s in sorted(SOURCE_COLOURS_BGR)], np.uint8)
    np.testing.assert_array_equal(pixels_of(page, "grid-source"), sources[planes["source"].reshape(-1)[::101]])

    scale = page.look("({low: depthd.view.depthScale.low, high: depthd.view.depthScale.high,"
                      " colours: [...depthd.view.depthScale.colours]})")  # fmt: skip
    for panel, plane in (("depth", "depth"), ("stereo", "stereo_depth")):
        depth_m = planes[plane].reshape(-1)[::101]
        known = np.isfinite(depth_m)
        with np.errstate(invalid="ignore"):
            level = np.log(depth_m[known] / scale["low"]) / np.log(scale["high"] / scale["low"])
        place = 255 * np.clip(level, 0, 1)
        packed = np.array(scale["colours"], np.uint32)
        shown = pixels_of(page, f"grid-{panel}")
        low, high = (colours_at(packed, rounding(place + shift)) for shift in (-0.6, 0.6))
        inside = (shown[known] >= np.minimum(low, high)) & (shown[known] <= np.maximum(low, high))
        assert inside.all(axis=1).mean() > 0.99
        # Holes are hatched dark grey, never the colour of a depth.
        assert (np.ptp(shown[~known].astype(int), axis=1) <= 6).all()

    for panel in ("sigma", "difference"):
        assert len(np.unique(pixels_of(page, f"grid-{panel}"), axis=0)) > 20
    assert not page.complaints


def rounding(place: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(place), 0, 255).astype(int)


def colours_at(packed: np.ndarray, at: np.ndarray) -> np.ndarray:
    return packed[at][:, None].view(np.uint8)[:, :3].astype(int)


def test_the_value_under_the_pointer_is_that_of_the_frame(page: Any, server: Any):
    page.freeze()
    held = page.look("depthd.frame().header.id")
    page.page.keyboard.press("v")
    page.page.keyboard.press("5")
    page.page.wait_for_timeout(500)
    assert page.look("depthd.frame().header.id") == held
    planes = held_frame(page, server.url)
    box = page.page.locator("#wipe").bounding_box()
    height, width = planes["depth"].shape
    for x_share, y_share in ((0.2, 0.3), (0.4, 0.8), (0.7, 0.6), (0.9, 0.9)):
        page.page.mouse.move(box["x"] + x_share * box["width"], box["y"] + y_share * box["height"])
        value = page.look("(() => { const p = depthd.stage.pointer; return p && [p.x, p.y]; })()")
        x, y = value
        assert abs(x - x_share * width) <= 1
        assert abs(y - y_share * height) <= 1
        depth_m, sigma = float(planes["depth"][y, x]), float(planes["sigma"][y, x])
        assert float(text(page, "value-depth").removesuffix(" m")) == pytest.approx(depth_m, rel=2e-4, abs=6e-4)
        assert float(text(page, "value-sigma").split(" ")[0]) == pytest.approx(100 * sigma, rel=0.01, abs=0.006)
        camera = json.loads(str(planes["about"]))["camera"]
        position = [float(part) for part in text(page, "value-position").split(",")]
        wanted = [
            (x - camera["cx"]) / camera["fx"] * depth_m,
            (y - camera["cy"]) / camera["fy"] * depth_m,
            depth_m,
        ]
        assert position == pytest.approx(wanted, rel=3e-4, abs=1e-3)
    assert page.look("document.getElementById('near-pixels').textContent").replace(",", "") == str(
        (planes["source"] == 2).sum()
    )


def text(page: Any, element: str) -> str:
    return page.page.locator(f"#{element}").inner_text()


def test_the_divider_drags_and_shows_more_of_the_left_picture(page: Any):
    before = page.page.locator("#divider").bounding_box()
    box = page.page.locator("#wipe").bounding_box()
    page.page.mouse.move(before["x"] + before["width"] / 2, before["y"] + 200)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.8 * box["width"], before["y"] + 210, steps=5)
    page.page.mouse.up()
    assert page.look("depthd.stage.divider") == pytest.approx(0.8, abs=0.01)
    page.look("depthd.setMode('grid'), depthd.frozen() || document.getElementById('freeze').click()")
    page.until("depthd.frame().header.held && depthd.frame().planes.left && 1")
    page.look("depthd.view.outline = false, depthd.setMode('wipe')")
    shown, left, depth = (columns_of(page, canvas, 400) for canvas in ("canvas", "grid-left", "grid-depth"))
    middle = page.look("Math.round(depthd.stage.divider * depthd.frame().header.width)")
    np.testing.assert_array_equal(shown[:middle], left[:middle])
    np.testing.assert_array_equal(shown[middle:], depth[middle:])
    assert (left[middle:] != depth[middle:]).any()
    page.page.locator("#divider").focus()
    page.page.keyboard.press("ArrowLeft")
    assert page.look("depthd.stage.divider") == pytest.approx(0.78, abs=0.01)


def test_the_distance_between_two_clicked_points_is_the_frames(page: Any, server: Any):
    page.look("document.getElementById('freeze').click()")
    page.until("depthd.frame().header.held && 1")
    planes = held_frame(page, server.url)
    page.page.keyboard.press("m")
    box = page.page.locator("#wipe").bounding_box()
    points = []
    camera = json.loads(str(planes["about"]))["camera"]
    for share in (0.25, 0.75):
        page.page.mouse.click(box["x"] + share * box["width"], box["y"] + 0.8 * box["height"])
        x, y = page.look("[depthd.stage.pointer.x, depthd.stage.pointer.y]")
        z = float(planes["depth"][y, x])
        points.append([(x - camera["cx"]) / camera["fx"] * z, (y - camera["cy"]) / camera["fy"] * z, z])
    shown = float(text(page, "value-distance").split(" ")[0])
    assert shown == pytest.approx(np.linalg.norm(np.subtract(*points)), rel=2e-3)


def test_a_region_dragged_on_the_page_is_judged_as_the_command_line_does(page: Any, server: Any, tmp_path: Path):
    page.page.keyboard.press("j")
    page.until("depthd.frame().header.held && 1")
    box = page.page.locator("#wipe").bounding_box()
    page.page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.75 * box["height"])
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.95 * box["height"], steps=4)
    page.page.mouse.up()
    page.until("document.querySelectorAll('#judge-values tr').length >= 5")
    region = page.page.input_value("#judge-region")
    shown = float(page.look("document.querySelector('#judge-values td').textContent"))
    frame_id = page.look("depthd.frame().header.id")
    with urllib.request.urlopen(f"{server.url}frame.npz?id={frame_id}") as answer:
        (tmp_path / "held.npz").write_bytes(answer.read())
    command = [sys.executable, "-m", "depthd", "evaluate", "--frame", str(tmp_path / "held.npz"), "--plane", region]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"RMS {shown:.2f} mm" in said
    assert page.look("document.getElementById('judge-picture').naturalWidth") > 20

    page.page.fill("#judge-mm", "750")
    box = page.page.locator("#wipe").bounding_box()
    page.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"])
    page.until("document.querySelector('#judge-values th').textContent.startsWith('Fused')")
    x, y = (int(part) for part in page.page.input_value("#judge-at").split(","))
    found = float(page.look("document.querySelector('#judge-values td').textContent"))
    depth_m = np.load(tmp_path / "held.npz")["depth"]
    assert found == pytest.approx(1e3 * float(np.median(depth_m[y - 2 : y + 3, x - 2 : x + 3])), abs=0.01)
    assert not page.complaints


def test_a_region_is_given_with_the_keyboard_too(page: Any):
    page.page.keyboard.press("j")
    page.until("depthd.frame().header.held && 1")
    page.page.locator("#wipe").focus()
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Enter")
    for key in ("ArrowRight", "ArrowDown"):
        for _ in range(4):
            page.page.keyboard.press(f"Shift+{key}")
    page.page.keyboard.press("Enter")
    width, height = page.look("[depthd.frame().header.width, depthd.frame().header.height]")
    assert page.page.input_value("#judge-region") == f"{width // 2},{height // 2 + 1},41,41"
    page.until("document.querySelectorAll('#judge-values tr').length >= 1")
    assert not page.complaints


def test_what_cannot_be_judged_is_refused_in_one_line(server: Any):
    wrong = (
        "shape=cube&region=1,1,9,9",
        "shape=plane&region=x",
        "shape=plane&region=0,0,9999,9",
        "shape=plane&region=1,1,9,9&depth=best",
        "at=1,1",
        "distance_mm=nan&at=1,1",
        "distance_mm=5&at=9999,1",
    )
    for query in wrong:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.url}evaluate?{query}")
        assert refused.value.code == 400
        assert refused.value.read().decode().count("\n") == 1


def test_knobs_are_shown_to_all_and_turned_only_with_the_token(open_page: Any, start_server: Any, server: Any):
    page = open_page(server.url)
    page.until("document.querySelectorAll('[data-knob]').length >= 3")
    assert page.page.locator("[data-knob='fusion.prefer']").is_disabled()
    change = json.dumps({"key": "fusion.prefer", "value": "mono"}).encode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{server.url}knobs", change))
    assert refused.value.code == 403

    guarded = start_server("--token", "correct-horse-battery")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{guarded.url}knobs", change))
    assert refused.value.code == 401
    page = open_page(f"{guarded.url}?token=correct-horse-battery")
    page.until("document.querySelectorAll('[data-knob]').length >= 3")
    page.page.select_option("[data-knob='fusion.prefer']", "stereo")
    page.until("fetch('/health').then((a) => a.json()).then((h) => h.configuration.includes('prefer: stereo'))")
    page.page.fill("[data-knob='fusion.memory_decay']", "7")
    page.page.keyboard.press("Tab")
    page.until("document.getElementById('knobs-why').textContent.includes('fusion.memory_decay')")
    assert page.page.input_value("[data-knob='fusion.memory_decay']") == "0.9"
    page.page.select_option("[data-knob='fusion.prefer']", "nearer")
    page.until("fetch('/health').then((a) => a.json()).then((h) => h.configuration.includes('prefer: nearer'))")
    # The refusal of a wrong value is a line in the browser's console.
    assert [line for line in page.complaints if "400" not in line] == []


def test_the_cloud_has_points_and_draws_them(page: Any):
    page.page.keyboard.press("c")
    page.until("(depthd.cloud()?.count ?? 0) > 10000")
    drawn = page.look("""(() => {
      const cloud = depthd.cloud(); cloud.draw();
      const gl = cloud.renderer.getContext();
      const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
      const data = new Uint8Array(w * h * 4);
      gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, data);
      let lit = 0;
      for (let i = 0; i < data.length; i += 4) if (data[i] + data[i + 1] + data[i + 2] > 120) lit++;
      return lit / (w * h);
    })()""")
    assert drawn > 0.05
    page.page.select_option("#cloud-colour", "source")
    assert not page.complaints


def test_plots_are_drawn_from_the_samples(page: Any):
    page.until("Object.keys(depthd.plots.plots).length >= 7")
    for plot in ("scatter", "residual", "histogram", "fit", "latency", "fps", "shares"):
        painted = page.look(f"""(() => {{
          const canvas = document.querySelector("#plot-{plot} canvas");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return new Set(new Uint32Array(data.buffer)).size;
        }})()""")
        assert painted > 5, plot
    assert page.look("document.getElementById('samples-hint').hidden")


def test_every_key_does_what_the_help_says(page: Any):
    press = page.page.keyboard.press
    for digit, panel in enumerate(("left", "stereo", "depth", "source", "sigma", "difference"), 1):
        press(str(digit))
        assert page.look("depthd.view.b") == panel
    press("Shift+Digit4")
    assert page.look("depthd.view.a") == "source"
    press("x")
    assert page.look("[depthd.view.a, depthd.view.b]") == ["difference", "source"]
    press("g")
    assert page.look("depthd.view.mode") == "grid"
    press("v")
    press("o")
    assert page.look("depthd.view.outline") is False
    before = page.look("document.documentElement.dataset.theme")
    press("t")
    assert page.look("document.documentElement.dataset.theme") != before
    press("l")
    assert text(page, "freeze") == "静止"
    press("l")
    assert text(page, "freeze") == "Freeze"
    press("Space")
    held = page.until("depthd.frame().header.held && depthd.frame().header.id")
    press(".")
    page.until(f"depthd.frame().header.id > {held} && depthd.frame().header.held")
    press("Space")
    page.until("!depthd.frame().header.held")
    page.page.locator("#wipe").focus()
    press("Shift+ArrowRight")
    assert page.look("depthd.stage.pointer.x") == page.look("depthd.frame().header.width / 2 + 10")
    press("?")
    assert page.page.locator("#keys").is_visible()
    assert not page.complaints


def test_a_page_on_a_phone_fits_its_width(open_page: Any, server: Any):
    page = open_page(server.url, viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    page.until("window.depthd?.frame() && 1")
    assert page.look("document.documentElement.scrollWidth") <= 390
    assert page.page.locator("#wipe").bounding_box()["width"] > 350
    assert not page.complaints


def test_the_page_goes_on_after_the_daemon_was_killed_and_started_again(page: Any, daemon: Any):
    writer = page.look("depthd.frame().header.writer")
    page.look("window.notReloaded = true")
    daemon.kill()
    page.until("depthd.status.state === 'waiting' || depthd.status.state === 'stopped'")
    daemon.start()
    page.until(f"depthd.frame().header.writer !== '{writer}'")
    page.until("depthd.status.state === 'running'")
    assert page.look("window.notReloaded")
    assert not page.complaints


def test_the_page_goes_on_after_the_server_was_started_again(open_page: Any, start_server: Any, daemon: Any):
    first = start_server()
    page = open_page(first.url)
    page.until("window.depthd?.frame() && 1")
    first.stop()
    page.until("depthd.status.state === 'disconnected'")
    start_server("--port", first.url.rsplit(":", 1)[1].strip("/"))
    seen = page.look("depthd.counters.frames")
    page.until(f"depthd.counters.frames > {seen}")


def test_a_token_is_asked_for_refused_and_accepted(open_page: Any, start_server: Any):
    server = start_server("--token", "correct-horse-battery")
    bare = server.url.split("?")[0]
    for path in ("", "stream", "health", "frame.npz", "static/js/main.js"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(bare + path)
        assert refused.value.code == 401
    page = open_page(bare + "?token=wrong-horse-battery")
    assert "not right" in page.page.content()
    page.page.fill("input[name=token]", "correct-horse-battery")
    page.page.click("button")
    page.until("window.depthd?.frame() && 1")
    assert "token" not in page.page.url


def test_another_sites_page_is_refused(server: Any):
    for headers in ({"Origin": "http://example.org"}, {"Host": "rebound.example.org"}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(server.url, headers=headers))
        assert refused.value.code == 403


def test_downloads_are_what_they_say(server: Any, page: Any):
    import cv2

    with urllib.request.urlopen(f"{server.url}frame.png") as answer:
        millimetres = cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert millimetres.dtype == np.uint16
    assert millimetres.shape == (376, 672)
    with urllib.request.urlopen(f"{server.url}frame.ply") as answer:
        assert answer.read(3) == b"ply"
    with urllib.request.urlopen(f"{server.url}recording.zip?seconds=1") as answer:
        archive = zipfile.ZipFile(io.BytesIO(answer.read()))
    frames = json.loads(archive.read("frames.json"))["frames"]
    assert frames
    depth_m = np.load(io.BytesIO(archive.read(f"{frames[0]['id']:08d}/depth.npy")))
    assert depth_m.shape == (376, 672)


def test_the_page_decodes_what_the_server_packs(page: Any):
    generator = np.random.default_rng(1)
    codes = np.where(generator.random(5000) < 0.5, 700, generator.integers(0, 65536, 5000)).astype(np.uint16)
    decoded = page.page.evaluate(
        """async ([bytes, count]) => {
          const { unpack } = await import("/static/js/codec.js");
          return [...unpack(Uint8Array.from(bytes), count)];
        }""",
        [list(_codec.pack(codes)), len(codes)],
    )
    np.testing.assert_array_equal(decoded, codes)
