"""Export of a transformers checkpoint, compared with transformers itself."""

from pathlib import Path

import numpy as np
import pytest

from depthd.errors import DepthdError
from depthd.mono.export import export_onnx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'depthd[export]'")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install 'depthd[export]'")


def small_model(kind: str):
    """Depth Anything's architecture, randomly initialised and small, with an output that varies."""
    backbone = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, image_size=70, patch_size=14,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=32, neck_hidden_sizes=[8, 16, 32, 32],
        fusion_hidden_size=16, head_hidden_size=8, patch_size=14,
        depth_estimation_type=kind, max_depth=20 if kind == "metric" else 1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DepthAnythingForDepthEstimation(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3 / max(1, parameter[0].numel()) ** 0.5)
        model.head.conv3.bias.fill_(0.0 if kind == "metric" else 1.0)
    return model


@pytest.mark.parametrize("kind", ["relative", "metric"])
def test_the_export_gives_what_transformers_gives_at_every_size(tmp_path: Path, kind: str) -> None:
    import onnxruntime

    model = small_model(kind)
    model.save_pretrained(tmp_path / "checkpoint")
    export_onnx(tmp_path / "checkpoint", tmp_path / "out.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    for height, width in ((56, 84), (70, 70), (28, 112), (98, 126)):
        pixels = torch.randn(1, 3, height, width)
        with torch.no_grad():
            expected = model(pixels).predicted_depth.numpy()
        (found,) = session.run(["predicted_depth"], {"pixel_values": pixels.numpy()})
        assert expected.std() > 1e-3, "a constant map would prove nothing"
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint", "out.onnx"]


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DepthdError, match=r"has no config\.json"):
        export_onnx(tmp_path, tmp_path / "out.onnx")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DepthdError, match="is no Depth Anything checkpoint"):
        export_onnx(tmp_path, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_attention_in_an_export_becomes_one_operator(tmp_path: Path) -> None:
    """PyTorch's exporter spells attention out in its own way."""
    import onnx
    import onnxruntime

    from depthd.mono.attention import fuse_attention

    model = small_model("relative")
    model.save_pretrained(tmp_path / "checkpoint")
    export_onnx(tmp_path / "checkpoint", tmp_path / "out.onnx")
    proto = onnx.load(tmp_path / "out.onnx")
    assert fuse_attention(proto) == 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = torch.randn(1, 3, 56, 98)
    with torch.no_grad():
        expected = model(pixels).predicted_depth.numpy()
    (found,) = session.run(None, {"pixel_values": pixels.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_export_is_rewritten_for_a_gpu_as_a_whole_and_gives_the_same(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    from depthd.mono.convolutions import resize_channels_last, simplify_convolutions
    from depthd.mono.graph import shapes_of
    from depthd.mono.half_network import fix_size
    from depthd.mono.model import Model, default_card

    small_model("relative").save_pretrained(tmp_path / "checkpoint")
    path = tmp_path / "small.onnx"
    export_onnx(tmp_path / "checkpoint", path)
    pixels = np.random.default_rng(0).normal(size=(1, 3, 70, 126)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"pixel_values": pixels})
    fix_size(Model("small", default_card("small.onnx"), path), (70, 126), tmp_path / "fixed.onnx", blocks=True)
    proto = onnx.load(tmp_path / "fixed.onnx")
    found = simplify_convolutions(proto, shapes_of(proto))
    assert found == {"Patches": 1, "ResizeLast": 4, "Tokens": 4, "OneChannel": 1}
    assert resize_channels_last(proto, shapes_of(proto)) == 5
    kinds = [node.op_type for node in proto.graph.node]
    assert (kinds.count("Attention"), kinds.count("SkipLayerNormalization")) == (4, 8)
    (found_map,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"pixel_values": pixels})
    np.testing.assert_allclose(found_map, expected, rtol=1e-5, atol=1e-5)
