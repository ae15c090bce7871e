"""Frames as ROS 2 messages: recorded to MCAP, decoded by another library, played back, sent over zenoh."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import depthd
from depthd.cameras import open_camera
from depthd.cameras.base import EndOfRecording
from depthd.config import RecordingCameraConfig, SharedMemoryConfig
from depthd.errors import DepthdError, UsageError
from depthd.frame import Camera, Fit, FitStatus, FusionResult, Source, StageTimes, StereoFrame
from depthd.shm.publisher import Publisher

pytest.importorskip("rosbags", reason="needs rosbags (pip install depthd[ros])")
pytest.importorskip("mcap", reason="needs mcap (pip install depthd[ros])")
cv2 = pytest.importorskip("cv2")

from depthd.export.mcap import McapRecorder  # noqa: E402
from depthd.ros.messages import MessageMaker, depth_in_mm  # noqa: E402

CAMERA = Camera(32, 24, 30.0, 31.0, 15.5, 11.5, 0.12, 1.5)
DEPTH = np.linspace(0.5, 70.0, 24 * 32, dtype=np.float32).reshape(24, 32)
DEPTH[2, 3] = np.nan
STEREO = DEPTH.copy()
STEREO[0, 0], STEREO[0, 1] = -np.inf, np.inf
LEFT = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
PLANES = {"planes": ("left", "stereo_depth")}


@pytest.fixture
def publisher(name: str) -> Iterator[Publisher]:
    with Publisher(SharedMemoryConfig(**PLANES), name, CAMERA, "test") as opened:
        yield opened


def publish(publisher: Publisher, index: int) -> None:
    now = time.monotonic_ns()
    with publisher.slot() as slot:
        slot.planes.depth_m[...], slot.planes.source[...] = DEPTH, Source.STEREO
        slot.planes.sigma[...] = 0.01
        slot.plane("left")[...], slot.plane("stereo_depth")[...] = LEFT, STEREO
        slot.plane("left")[0, 0] = index
        frame = StereoFrame(index, now, 0, CAMERA, None)
        fit = Fit(0.5, 0.01, 0.02, 0.9, 0.98, 1000, 0, FitStatus.FITTED)
        slot.describe(frame, FusionResult(fit, (0, 768, 0, 0, 0, 0)), StageTimes(now))


def frames(publisher: Publisher, name: str, count: int) -> Iterator[depthd.Frame]:
    with depthd.open(name) as reader:
        for index in range(count):
            publish(publisher, index)
            yield reader.wait(timeout=5.0)


@pytest.fixture
def recording(publisher: Publisher, name: str, tmp_path: Path) -> Path:
    path = tmp_path / "three.mcap"
    with McapRecorder(path, "front", points=True) as recorder:
        for frame in frames(publisher, name, 3):
            assert recorder.add(frame)
    return path


def test_a_recording_is_decoded_by_another_library(recording: Path) -> None:
    factory = pytest.importorskip("mcap_ros2.decoder", reason="needs mcap-ros2-support").DecoderFactory()
    from mcap.reader import make_reader

    with open(recording, "rb") as stream:
        found: dict[str, list] = {}
        for _, channel, _, message in make_reader(stream, decoder_factories=[factory]).iter_decoded_messages():
            found.setdefault(channel.topic, []).append(message)
    assert {len(messages) for messages in found.values()} == {3}
    depth = found["/front/depth/image"][0]
    assert (depth.encoding, depth.height, depth.width, depth.step) == ("32FC1", 24, 32, 128)
    assert np.array_equal(np.frombuffer(bytes(depth.data), np.float32).reshape(24, 32), DEPTH, equal_nan=True)
    left = found["/front/left/image_raw"][2]
    assert left.encoding == "bgr8"
    assert bytes(left.data)[:3] == bytes((2, 2, 2))
    right = found["/front/right/camera_info"][0]
    assert right.p[3] == pytest.approx(-CAMERA.fx * CAMERA.baseline_m)
    points = found["/front/points"][0]
    xyz = np.frombuffer(bytes(points.data), np.float32).reshape(24, 32, 4)
    np.testing.assert_allclose(xyz[5, 6, 0], (6 - CAMERA.cx) / CAMERA.fx * DEPTH[5, 6], rtol=1e-5)
    assert bytes(points.data)[16 + 12 : 16 + 15] == LEFT[0, 1].tobytes()
    assert [field.name for field in points.fields] == ["x", "y", "z", "rgb"]
    status = found["/diagnostics"][0].status[0]
    assert {value.key: value.value for value in status.values}["STEREO (%)"] == "100.00"
    stamps = {(m.header.stamp.sec, m.header.stamp.nanosec) for messages in found.values() for m in messages}
    assert len(stamps) == 3  # all messages of a frame can be synchronised exactly


def test_a_recording_plays_as_a_camera(recording: Path) -> None:
    camera = open_camera(RecordingCameraConfig(path=recording, loop=False, real_time=False))
    assert vars(camera.camera) == pytest.approx(vars(CAMERA), rel=1e-12)
    for index in range(3):
        frame = camera.grab()
        assert frame.index == index
        assert frame.left_bgr is not None
        assert (frame.left_bgr[0, 0] == index).all()
        assert np.array_equal(frame.left_bgr[1:], LEFT[1:])
        assert np.array_equal(frame.depth_m, STEREO, equal_nan=True)
    with pytest.raises(EndOfRecording):
        camera.grab()
    camera.close()


def test_a_looping_recording_starts_again(recording: Path) -> None:
    camera = open_camera(RecordingCameraConfig(path=recording, loop=True, real_time=False))
    firsts = [int(camera.grab().left_bgr[0, 0, 0]) for _ in range(7)]
    assert firsts == [0, 1, 2, 0, 1, 2, 0]


def test_an_aborted_recording_leaves_no_file(publisher: Publisher, name: str, tmp_path: Path) -> None:
    with suppress(KeyError), McapRecorder(tmp_path / "broken.mcap", "front") as recorder:
        recorder.add(next(iter(frames(publisher, name, 1))))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not an MCAP file" * 100])
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "wrong.mcap"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        open_camera(RecordingCameraConfig(path=path))
    with pytest.raises(UsageError, match="cannot read"):
        open_camera(RecordingCameraConfig(path=tmp_path / "absent.mcap"))


def test_control_c_ends_a_recording_with_a_complete_file(publisher: Publisher, name: str, tmp_path: Path) -> None:
    path = tmp_path / "interrupted.mcap"
    code = f"""
import depthd
from pathlib import Path
from depthd.export.mcap import McapRecorder, record
with depthd.open({name!r}) as reader, McapRecorder(Path({str(path)!r}), "front") as recorder:
    print("recording", flush=True)
    record(reader, recorder)
print(recorder.frames)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    for index in range(20):
        publish(publisher, index)
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    recorded = int(process.communicate(timeout=20)[0])
    assert recorded > 0
    play_frames(path, recorded)


def play_frames(recording: Path, count: int) -> None:
    camera = open_camera(RecordingCameraConfig(path=recording, loop=False, real_time=False))
    for _ in range(count):
        camera.grab()


def test_a_recording_cut_short_is_refused_or_ends(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:-200])
    with pytest.raises((UsageError, EndOfRecording)):
        play_frames(recording, 4)


def test_depth_as_png_is_lossless_to_the_millimetre(publisher: Publisher, name: str) -> None:
    from depthd.ros.messages import COMPRESSED_IMAGE, MessageReader

    frame = next(iter(frames(publisher, name, 1)))
    message = MessageReader().decode(COMPRESSED_IMAGE, MessageMaker("front").depth_png(frame).data)
    assert message.format == "16UC1; compressedDepth png"
    picture = cv2.imdecode(np.asarray(message.data)[12:], cv2.IMREAD_UNCHANGED)
    assert np.array_equal(picture, depth_in_mm(DEPTH))
    known = np.isfinite(DEPTH) & (DEPTH < 65.5)
    assert np.abs(picture[known] / 1000.0 - DEPTH[known]).max() <= 0.00051
    assert (picture[~np.isfinite(DEPTH)] == 0).all()
    assert (picture[DEPTH > 65.6] == 0).all()


def test_frames_cross_zenoh_under_the_keys_of_rmw_zenoh(publisher: Publisher, name: str, tmp_path: Path) -> None:
    zenoh = pytest.importorskip("zenoh", reason="needs zenoh (pip install depthd[bridge])")
    from depthd.bridge.zenoh import BridgeOptions, ZenohBridge, publisher_id, run
    from depthd.ros.messages import IMAGE, MessageReader

    endpoint = f"unixsock-stream/{tmp_path}/zenoh"
    streams = ("depth", "depth_png", "left_jpeg", "camera_info", "diagnostics", "points")
    options = BridgeOptions(streams=streams, listen=(endpoint,), multicast=False, domain=7)
    stop = threading.Event()

    def publish_for_ever() -> None:
        index = 0
        while not stop.wait(0.02):
            publish(publisher, index)
            index += 1

    def send() -> None:
        with depthd.open(name) as reader, ZenohBridge("front", options) as bridge:
            listening.set()
            run(reader, bridge, frame_limit=60)

    listening = threading.Event()
    threads = [threading.Thread(target=publish_for_ever), threading.Thread(target=send)]
    for thread in threads:
        thread.start()
    listening.wait()
    config = zenoh.Config()
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("connect/endpoints", f'["{endpoint}"]')
    try:
        with zenoh.open(config) as session:
            samples = session.declare_subscriber("7/**", zenoh.handlers.FifoChannel(1000))
            received = {}
            while len(received) < 7:
                sample = samples.recv()
                received[str(sample.key_expr)] = (sample.payload.to_bytes(), sample.attachment.to_bytes())
            tokens = [str(reply.ok.key_expr) for reply in session.liveliness().get("@ros2_lv/7/**")]
    finally:
        threads[1].join()  # the sender first: it waits for frames
        stop.set()
        threads[0].join()
    [key] = [key for key in received if key.startswith("7/front/depth/image/")]
    # The hash of sensor_msgs/msg/Image that ROS 2 itself ships since Iron (its .json type descriptions).
    expected = "RIHS01_d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47"
    assert key == f"7/front/depth/image/sensor_msgs::msg::dds_::Image_/{expected}"
    data, beside = received[key]
    image = MessageReader().decode(IMAGE, data)
    assert np.array_equal(np.asarray(image.data).view(np.float32).reshape(24, 32), DEPTH, equal_nan=True)
    # As rmw_zenoh reads it: zenoh's own deserialiser, an array of 16 bytes last.
    sequence, source_time_ns, gid = zenoh.ext.z_deserialize(
        tuple[zenoh.ext.Int64, zenoh.ext.Int64, bytes], zenoh.ZBytes(beside)
    )
    assert sequence >= 1
    assert source_time_ns == image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
    assert len(beside) == 33
    kinds = sorted(token.split("/")[5] for token in tokens)
    assert kinds == ["MP"] * 7 + ["NN"]
    [token] = [token for token in tokens if "%front%depth%image/sensor_msgs::msg::dds_::Image_" in token]
    assert gid == publisher_id(token)
    assert token.endswith(
        f"/MP/%/%/depthd_bridge/%front%depth%image/sensor_msgs::msg::dds_::Image_/{expected}/::,1:,:,:,,"
    )


def test_the_publishers_id_is_xxh3_of_its_token_low_half_first() -> None:
    pytest.importorskip("xxhash", reason="needs xxhash (pip install depthd[bridge])")
    from depthd.bridge.zenoh import publisher_id

    # XXH3's specification: 128 bits of no bytes are 99aa06d3014798d8 6001c324468d497f (high, low).
    assert publisher_id("") == bytes.fromhex("7f498d4624c30160 d8984701d306aa99")


def test_a_node_behind_a_router_without_multicast_gets_frames_as_with_rmw_zenoh(
    publisher: Publisher, name: str, tmp_path: Path
) -> None:
    zenoh = pytest.importorskip("zenoh", reason="needs zenoh (pip install depthd[bridge])")
    from depthd.bridge.zenoh import BridgeOptions, ZenohBridge

    endpoint = f"unixsock-stream/{tmp_path}/router"

    def session(mode: str, side: str) -> object:
        config = zenoh.Config()
        config.insert_json5("mode", f'"{mode}"')
        config.insert_json5("scouting/multicast/enabled", "false")
        config.insert_json5(f"{side}/endpoints", f'["{endpoint}"]')
        return zenoh.open(config)

    options = BridgeOptions(streams=("depth",), connect=(endpoint,), multicast=False)
    with session("router", "listen"), session("peer", "connect") as node:
        samples = node.declare_subscriber("0/front/depth/image/**", zenoh.handlers.FifoChannel(100))
        tokens = node.liveliness().declare_subscriber("@ros2_lv/0/**", zenoh.handlers.FifoChannel(100), history=True)
        graph: set[str] = set()
        with depthd.open(name) as reader, ZenohBridge("front", options) as bridge:
            received = None
            end = time.monotonic() + 20
            while received is None and time.monotonic() < end:
                publish(publisher, 0)
                bridge.send(reader.wait(timeout=1.0))
                time.sleep(0.05)
                received = samples.try_recv()
            assert received is not None
            while len(graph) < 2 and time.monotonic() < end:
                graph.add(str(tokens.recv().key_expr))
    assert {token.split("/")[5] for token in graph} == {"NN", "MP"}


def test_the_bridge_keeps_its_rate_and_an_unknown_stream_is_named(publisher: Publisher, name: str) -> None:
    pytest.importorskip("zenoh", reason="needs zenoh (pip install depthd[bridge])")
    from depthd.bridge.zenoh import BridgeOptions, ZenohBridge, run

    with pytest.raises(UsageError, match="'nonsense' is no stream"):
        ZenohBridge("front", BridgeOptions(streams=("nonsense",)))
    with pytest.raises(DepthdError, match="check the endpoints"):
        ZenohBridge("front", BridgeOptions(connect=("nonsense",)))
    stop = threading.Event()
    published = []

    def publish_for_ever() -> None:
        while not stop.wait(0.005):
            publish(publisher, len(published))
            published.append(time.monotonic())

    thread = threading.Thread(target=publish_for_ever)
    thread.start()
    try:
        options = BridgeOptions(streams=("diagnostics",), rate_hz=20.0, multicast=False)
        with depthd.open(name) as reader, ZenohBridge("front", options) as bridge:
            before = len(published)
            assert run(reader, bridge, frame_limit=5) == 5
            assert len(published) - before >= 8  # frames were left out to keep to 20 a second
    finally:
        stop.set()
        thread.join()
