"""From a camera picture to the network's input."""

import cv2
import numpy as np
import pytest

from depthd.mono.model import ModelCard, default_card
from depthd.mono.preprocess import Preprocessor

CARD = default_card("any.onnx")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def in_floating_point(card: ModelCard, left_bgr: np.ndarray, height: int, width: int, how: int) -> np.ndarray:
    resized = cv2.resize(left_bgr, (width, height), interpolation=how)
    rgb = resized[..., ::-1].astype(np.float64) / 255.0
    return ((rgb - np.array(card.mean)) / np.array(card.std)).transpose(2, 0, 1)[None]


@pytest.mark.parametrize(
    ("size", "out", "how"),
    [
        ((120, 200), (56, 98), cv2.INTER_AREA),
        ((30, 40), (70, 98), cv2.INTER_CUBIC),
        ((56, 70), (56, 70), cv2.INTER_AREA),
    ],
)
def test_channels_are_rgb_first_and_normalised(size, out, how) -> None:
    left_bgr = picture(*size)
    found = Preprocessor(CARD, *size, *out).run(left_bgr)
    assert found.shape == (1, 3, *out)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_floating_point(CARD, left_bgr, *out, how), atol=1e-6)


def test_the_buffer_is_written_whole_and_reused() -> None:
    preprocessor = Preprocessor(CARD, 60, 80, 28, 42)
    preprocessor.buffer[:] = np.nan
    first = preprocessor.run(picture(60, 80))
    assert np.isfinite(first).all()
    before = first.copy()
    second = preprocessor.run(picture(60, 80, seed=1))
    assert second is first
    assert not np.array_equal(second, before)


def test_a_view_with_strides_is_taken() -> None:
    both_eyes = picture(60, 160)
    left = both_eyes[:, :80]
    expected = Preprocessor(CARD, 60, 80, 28, 42).run(left.copy())
    np.testing.assert_array_equal(Preprocessor(CARD, 60, 80, 28, 42).run(left), expected)


@pytest.mark.parametrize("wrong", [picture(61, 80), picture(60, 80)[..., :2], picture(60, 80).astype(np.float32)])
def test_another_shape_or_type_is_refused_by_name(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="left_bgr is"):
        Preprocessor(CARD, 60, 80, 28, 42).run(wrong)
