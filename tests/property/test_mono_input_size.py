"""How large a picture the network gets."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depthd.mono.model import ModelCard, SizeRule, default_card, input_size, load_manifest

sides = st.integers(1, 5000)
multiples = st.sampled_from([1, 2, 14, 16, 32])
aims = st.one_of(
    st.fixed_dictionaries({"area_px": st.integers(1, 1_000_000)}),
    st.fixed_dictionaries({"short_side_px": st.integers(1, 1000)}),
    st.fixed_dictionaries({"long_side_px": st.integers(1, 1000)}),
)


def card_with(**rule: int) -> ModelCard:
    return default_card("any.onnx").model_copy(update={"size": SizeRule(**rule)})


@given(sides, sides, multiples, aims)
def test_both_sides_are_multiples_and_never_zero(height: int, width: int, multiple: int, aim: dict) -> None:
    for side in input_size(card_with(multiple_px=multiple, **aim), height, width):
        assert side >= multiple
        assert side % multiple == 0


@given(sides, sides, multiples, aims)
def test_aspect_is_kept_within_half_a_multiple_on_each_side(height, width, multiple, aim) -> None:
    out_height, out_width = input_size(card_with(multiple_px=multiple, **aim), height, width)
    half = multiple / 2 * (1 + 1e-9)
    # One scale factor serves both sides: the intervals of factors that each side allows must meet.
    lowest = [
        0.0 if out == multiple else (out - half) / side for out, side in ((out_height, height), (out_width, width))
    ]
    highest = [(out + half) / side for out, side in ((out_height, height), (out_width, width))]
    assert max(lowest) <= min(highest)


@given(sides, sides, st.integers(1, 1000), st.sampled_from([14, 32]))
def test_turning_the_picture_turns_the_size(height: int, width: int, short: int, multiple: int) -> None:
    card = card_with(multiple_px=multiple, short_side_px=short)
    assert input_size(card, height, width) == input_size(card, width, height)[::-1]


@given(st.integers(200, 3000), st.integers(200, 3000))
def test_an_area_is_met_within_the_rounding(height: int, width: int) -> None:
    assume(max(height, width) / min(height, width) < 4)
    area = 143_360
    out_height, out_width = input_size(card_with(multiple_px=32, area_px=area), height, width)
    exact = math.sqrt(area / (height * width))
    bound = (exact * height + 16) * (exact * width + 16)
    assert out_height * out_width <= bound
    assert out_height * out_width >= (exact * height - 16) * (exact * width - 16)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(1080, 1920, (518, 924)), (720, 1280, (518, 924)), (1200, 1920, (518, 826)), (480, 640, (518, 686))],
)
def test_depth_anything_v2_sizes_are_those_of_its_own_transform(height, width, expected) -> None:
    assert input_size(default_card("v2.onnx"), height, width) == expected


def test_the_configured_short_side_replaces_the_aim() -> None:
    assert input_size(default_card("v2.onnx"), 720, 1280, short_side_px=308) == (308, 546)


def test_the_embedded_model_sees_a_zed_picture_near_its_best_area() -> None:
    card = load_manifest().models["depthd-small"]
    assert input_size(card, 376, 672) == (288, 512)
    assert input_size(card, 1080, 1920) == (288, 512)
