"""How the embedded network is made, as far as a machine without a GPU can try it."""

from __future__ import annotations

import math
import random
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'depthd[train]'")
onnx = pytest.importorskip("onnx", reason="training needs onnx: pip install 'depthd[train]'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from train import batch, textures  # noqa: E402
from train.layouts import LAYOUTS  # noqa: E402
from train.loss import robust, shape_loss, teaches  # noqa: E402
from train.sensor import photographed  # noqa: E402
from train.settings import STUDENTS, Settings, tiny  # noqa: E402
from train.stage import Frame, Shape, Stage  # noqa: E402

needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="the CPU renderer needs a C++ compiler")


@pytest.fixture(scope="module")
def render():
    from train.renderer import Renderer

    return Renderer(textures.atlas(seed=1, count=4), "cpu")


def maps(seed: int) -> torch.Tensor:
    return torch.rand(3, 24, 40, generator=torch.Generator().manual_seed(seed)) + 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 20), st.floats(-5, 5), st.sampled_from([0.0, 3.0]))
def test_the_loss_does_not_see_scale_and_shift(seed, scale, shift, far_weight):
    predicted, true = maps(seed), maps(seed + 1)
    loss = shape_loss(predicted, true, far_weight)
    torch.testing.assert_close(shape_loss(scale * predicted + shift, true, far_weight), loss, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(shape_loss(predicted, scale * true, far_weight), loss, rtol=1e-3, atol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-2, 2))
def test_the_loss_is_zero_for_the_truth_at_any_scale_and_not_for_another_picture(seed, scale, shift):
    true = maps(seed)
    assert shape_loss(scale * true + shift, true).max() < 1e-3
    assert shape_loss(maps(seed + 1), true).min() > 0.1


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_larger_error_never_costs_less_but_an_outlier_costs_little_more(a, b):
    low, high = sorted((a, b))
    cost = robust(torch.tensor([low, high], dtype=torch.float64))
    assert cost[0] <= cost[1] <= 3 + math.log1p(1e6)


def test_a_flat_picture_and_the_inside_of_an_object_teach_nothing():
    sloped = torch.linspace(0.2, 1.0, 40).expand(24, 40)
    flat = torch.full((24, 40), 0.5)
    inside = 10 * sloped
    assert teaches(torch.stack([sloped, flat, inside])).tolist() == [True, False, False]


def test_the_same_seed_draws_the_same_batch_and_another_does_not():
    first, again, other = (batch.draw_batch(seed, 2, 2, pictures=4) for seed in (5, 5, 6))
    for a, b in zip(first.tables(), again.tables(), strict=True):
        assert a.tobytes() == b.tobytes()
    assert first.primitives.tobytes() != other.primitives.tobytes()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_object_lies_in_its_bounding_ball_and_every_number_is_finite(layout):
    for seed in range(4):
        stage = Stage(random.Random(seed), pictures=4)
        draw_camera = layout(stage)
        primitives, materials, groups = batch.tables_of(stage)
        view = batch.view_row(stage, draw_camera(), 0)
        assert all(np.isfinite(table.view(np.float32)).all() for table in (primitives, materials, groups))
        assert np.isfinite(np.atleast_1d(view).view(np.float32)).all()
        assert primitives["material"].max() < len(materials)
        assert groups["first"][0] == 0
        assert groups["end"][-1] == len(primitives)
        np.testing.assert_array_equal(groups["first"][1:], groups["end"][:-1])
        for group in groups:
            part = primitives[int(group["first"]) : int(group["end"])]
            linear = part["to_local"][:, :, :3].astype(np.float64)
            centres = -np.linalg.solve(linear, part["to_local"][:, :, 3:].astype(np.float64))[..., 0]
            reach = np.linalg.norm(centres - group["centre"], axis=1) + part["radius"]
            assert (reach <= group["radius"] * (1 + 1e-4) + 2e-3).all()


def picture_of(render, build, position=(0.0, 0.0, 0.0), width_deg=60.0, size=(48, 64)):
    """Inverse depth of one stage seen along y."""
    from train.stage import Camera

    stage = Stage(random.Random(0), pictures=4)
    build(stage)
    tables = batch.tables_of(stage)
    scenes = np.array([batch.scene_row(stage, np.zeros(3, np.int64), len(tables[2]))])
    view = batch.view_row(stage, Camera(position, math.pi / 2, 0.0, 0.0, width_deg), 0)
    view["centre"] = 0.5
    return render(batch.Batch(*tables, scenes, np.array([view])), *size)[1][0].numpy()


@needs_compiler
def test_the_depth_of_a_wall_is_its_distance_wherever_the_ray_goes(render):
    from train.materials import plain
    from train.rooms import wall

    inverse = picture_of(render, lambda stage: wall(stage, plain(stage), (0, 4, 0), (9, 9), 0))
    np.testing.assert_allclose(inverse, 0.25, rtol=1e-4)


@needs_compiler
@pytest.mark.parametrize(
    ("shape", "parameter", "nearest_m"),
    [
        (Shape.ROUND_BOX, (0.5, 0.5, 0.5, 0.1), 2.5),
        (Shape.CAPSULE, (0.4, 0.3, 0, 0), 2.7),
        (Shape.TORUS, (0.5, 0.2, 0, 0), 2.3),
        (Shape.SUPERQUADRIC, (0.5, 0.5, 0.5, 2.0), 2.5),
        (Shape.SUPERQUADRIC, (0.5, 0.5, 0.5, 8.0), 2.5),
        (Shape.LATHE, (0.6, 0.4, 0, 0), 2.6),
    ],
)
def test_a_traced_shape_is_met_where_it_is_and_grows_with_its_object(render, shape, parameter, nearest_m):
    from train.materials import plain

    for scale in (1.0, 1.5):

        def build(stage, scale=scale):
            stage.frames.append(Frame(((1, 0, 0), (0, 1, 0), (0, 0, 1)), (0, 3, 0), scale))
            stage.add(shape, plain(stage), (0, 0, 0), parameter=parameter)

        inverse = picture_of(render, build, size=(64, 64))
        assert 1 / inverse.max() == pytest.approx(3 - scale * (3 - nearest_m), rel=0.01)
        assert inverse[0, 0] == 0


@needs_compiler
def test_pictures_and_depth_are_finite_and_photographs_are_bytes(render):
    drawn = batch.draw_batch(3, 2, 2, pictures=4)
    radiance, inverse_depth = render(drawn, 32, 48)
    assert radiance.shape == (4, 3, 32, 48)
    assert torch.isfinite(radiance).all()
    assert torch.isfinite(inverse_depth).all()
    assert (inverse_depth >= 0).all()
    assert inverse_depth.amax((1, 2)).min() > 0
    torch.manual_seed(0)
    pictures = photographed(radiance)
    levels = pictures * 255
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    assert pictures.std((1, 2, 3)).min() > 0.01


def test_a_texture_keeps_its_light_at_every_mip_level():
    texels = textures.texture(seed=2, number=0).astype(np.float64) / 255
    sides = [textures.SIDE >> level for level in range(textures.LEVELS)]
    levels = np.split(texels, np.cumsum([side**2 for side in sides])[:-1])
    means = np.array([(level**2).mean() for level in levels])
    np.testing.assert_allclose(means, means[0], rtol=0.02, atol=0.002)


def test_the_encoder_learns_slower_the_nearer_a_stage_is_to_the_picture():
    from train.learner import rate_groups
    from train.network import Network

    network = Network()
    for student in STUDENTS:
        decoder, *stages = rate_groups(network, student, Settings())
        shares = [group["share"] for group in stages]
        assert decoder["share"] == 1.0
        assert shares[0] == student.encoder_rate
        assert shares == sorted(shares, reverse=True)
        counted = sum(len(group["params"]) for group in (decoder, *stages))
        assert counted == len(list(network.parameters()))


def test_the_schedule_rises_then_falls_and_never_stops():
    from train.learner import schedule

    rates = [schedule(step, step / 1000, 100) for step in range(1000)]
    assert max(rates) == pytest.approx(1, abs=0.05)
    assert rates[0] < 0.05
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert min(rates) > 0


@pytest.mark.slow
def test_an_exported_network_gives_what_the_trained_one_gives(tmp_path):
    pytest.importorskip("onnxruntime")
    from train.export import export, largest_difference, network_with
    from train.network import Network

    torch.manual_seed(0)
    trained = Network()
    for parameter in trained.parameters():
        parameter.data.mul_(1 + 0.1 * torch.rand(parameter.shape))
    weights = trained.state_dict()
    network = network_with(weights)
    export(network, tmp_path / "model.onnx")
    assert largest_difference(network, tmp_path / "model.onnx", ((64, 96), (96, 64))) < 1e-4
    assert (tmp_path / "model.onnx").stat().st_size < 8.2e6
    with torch.no_grad():
        pixels = torch.randn(1, 3, 64, 96)
        expected, folded = trained.eval()(pixels), network(pixels)
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_network_goes_on_from_an_exported_one(tmp_path):
    from train.export import export, network_with
    from train.exported import load_exported
    from train.network import Network

    torch.manual_seed(0)
    trained, other, pixels = Network(), Network(), torch.randn(1, 3, 64, 96)
    for name, parameter in trained.named_parameters():
        if name.endswith(("gain", "bias")):
            parameter.data += 0.1 * torch.rand(parameter.shape)
    export(network_with(trained.state_dict()), tmp_path / "model.onnx")
    load_exported(other, tmp_path / "model.onnx")
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(pixels), trained.eval()(pixels), rtol=1e-2, atol=1e-3)


def test_a_network_goes_on_from_the_embedded_model(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from train.evaluate import ROOT
    from train.exported import load_exported
    from train.network import Network

    embedded, network, pixels = ROOT / "weights" / "depthd-small.onnx", Network(), torch.rand(1, 3, 64, 96)
    load_exported(network, embedded)
    session = onnxruntime.InferenceSession(str(embedded), providers=["CPUExecutionProvider"])
    expected = session.run(["output"], {"input": pixels.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(network.eval()(pixels).numpy(), expected, rtol=1e-3, atol=1e-4)


def test_small_pictures_come_first_and_whole_ones_last():
    settings = Settings()
    area = {progress: sum(h * w for h, w in (settings.size_at(progress, k) for k in range(4))) for progress in (0, 1)}
    assert area[0] == pytest.approx(area[1] / 2, rel=0.05)
    assert all(side % 32 == 0 for size in (*settings.small_sizes, *settings.sizes) for side in size)


def test_compression_leaves_a_flat_picture_flat_and_costs_more_the_lower_the_quality():
    from train.sensor import compressed

    generator = torch.Generator().manual_seed(0)
    flat = torch.full((2, 3, 16, 24), 0.5)
    torch.testing.assert_close(compressed(flat, torch.tensor([20.0, 90.0])), flat, rtol=0, atol=0.02)
    rough = torch.rand(1, 3, 16, 24, generator=generator).expand(3, -1, -1, -1)
    lost = (compressed(rough, torch.tensor([20.0, 60.0, 95.0])) - rough).abs().mean((1, 2, 3))
    assert lost.tolist() == sorted(lost.tolist(), reverse=True)


def test_the_error_that_chooses_does_not_see_scale_and_shift_and_a_hopeless_picture_counts_once():
    from train.validation import relative_error, typical_error

    depth_m = np.random.default_rng(0).uniform(1, 5, (16, 24))
    assert relative_error(3 / depth_m + 7, depth_m) < 1e-9
    assert relative_error(-1 / depth_m, depth_m) < 1e-9
    good, hopeless = 1 / depth_m + 0.05, np.random.default_rng(1).uniform(0, 1, (16, 24))
    errors = [relative_error(map_, depth_m) for map_ in (good, hopeless)]
    assert typical_error([good, hopeless], [depth_m] * 2) <= math.sqrt(0.02 * errors[1]) + 1e-9


def test_a_run_goes_by_whichever_ends_first():
    assert Settings(seconds=100).progress(50, 10**6) == 0.5
    assert Settings(seconds=100, most_steps=10).progress(1, 8) == 0.8
    assert Settings(seconds=100, most_steps=10).progress(500, 1) == 1.0


@pytest.mark.slow
@needs_compiler
def test_a_run_that_was_cut_off_goes_on_from_its_checkpoint(tmp_path):
    from dataclasses import replace

    from train.network import Network
    from train.training import STATE, Inputs, train, weights_file

    # Random weights under the names of the ImageNet file.
    torch.manual_seed(1)
    imagenet = tmp_path / "imagenet.pth"
    torch.save(_imagenet_like(Network()), imagenet)
    pictures = tmp_path / "validation.npz"
    generator = np.random.default_rng(0)
    depth_m = generator.uniform(0.5, 5, (2, 64, 96)).astype(np.float16)
    np.savez(pictures, pictures=generator.integers(0, 255, (2, 64, 96, 3), dtype=np.uint8), depth_m=depth_m)
    short = replace(tiny(), most_steps=1, textures=2, checkpoints=(1.0,), students=STUDENTS[1:2])
    said: list[str] = []
    inputs = Inputs(imagenet, pictures)
    first = train(short, inputs, tmp_path, "cpu", said.append)
    assert (tmp_path / STATE).is_file()
    second = train(replace(short, most_steps=2), inputs, tmp_path, "cpu", said.append)
    assert any("taken up" in line for line in said)
    assert (first.step, second.step) == (1, 2)
    assert len(second.judged) == 2
    assert weights_file(tmp_path, second.best()).is_file()


def _imagenet_like(network) -> dict[str, torch.Tensor]:
    weights = {}

    def add(convolution, norm, module):
        channels = len(module.bias)
        weights[f"{convolution}.weight"] = module.weight.detach()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            weights[f"{norm}.{name}"] = torch.full((channels,), value)

    add("_conv_stem", "_bn0", network.encoder.stem)
    for k, block in enumerate(network.encoder.blocks):
        if block.expand is not None:
            add(f"_blocks.{k}._expand_conv", f"_blocks.{k}._bn0", block.expand)
        add(f"_blocks.{k}._depthwise_conv", f"_blocks.{k}._bn1", block.depthwise)
        add(f"_blocks.{k}._project_conv", f"_blocks.{k}._bn2", block.project)
    return weights
