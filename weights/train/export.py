"""Trained weights -> ONNX, with the weights stored in half precision and computed with in single precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from train.network import ConvNorm, Network

OPSET = 17
_SIZE = (256, 448)
_STORED_WHOLE = 256
"""Tensors with fewer values stay in single precision."""


def network_with(weights: dict[str, torch.Tensor]) -> Network:
    """The network for use: norms folded, output held at zero and above."""
    network = Network()
    network.load_state_dict({name: value.float() for name, value in weights.items()})
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return network.eval()


def export(network: Network, path: Path) -> None:
    """Writes the ONNX file: input (n, 3, height, width) normalised, output (n, 1, height, width)."""
    temporary = path.with_suffix(".whole")
    axes = {0: "n", 2: "height", 3: "width"}
    torch.onnx.export(
        network,
        (torch.zeros(1, 3, *_SIZE),),
        str(temporary),
        input_names=["input"],
        output_names=["output"],
        opset_version=OPSET,
        dynamo=False,
        do_constant_folding=True,
        dynamic_axes={"input": axes, "output": axes},
    )
    model = with_half_weights(with_uneven_padding(onnx.load(temporary)))
    temporary.unlink()
    onnx.checker.check_model(model)
    onnx.save(model, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def with_uneven_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Lets convolutions pad by themselves: PyTorch cannot pad one side more than the other, ONNX can, and a runtime
    then copies nothing.
    """
    graph = model.graph
    padded = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    for node in graph.node:
        if node.op_type != "Conv" or node.input[0] not in padded:
            continue
        pad = padded[node.input[0]]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        kernel = attributes["kernel_shape"].ints[0]
        before, after = (kernel - 2) // 2, (kernel - 1) // 2
        attributes["pads"].ints[:] = [before, before, after, after]
        node.input[0] = pad.input[0]
    _drop_unread(graph)
    return model


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Nodes whose outputs nobody reads, and those that only they read."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not read.intersection(node.output)]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)


def with_half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each large tensor in half precision and a cast, which a runtime does once when it loads the model."""
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _STORED_WHOLE:
            continue
        stored = f"{tensor.name}_half"
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(
            helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT, name=f"cast_{tensor.name}")
        )
    for place, cast in enumerate(casts):
        graph.node.insert(place, cast)
    return model


def largest_difference(
    network: Network, path: Path, sizes: tuple[tuple[int, int], ...] = ((256, 448), (384, 384))
) -> float:
    """Between the network, its weights rounded as in the file, and the file in ONNX Runtime, on random pictures."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rounded = Network()
    rounded.load_state_dict(
        {
            name: value.half().float() if value.numel() >= _STORED_WHOLE else value
            for name, value in network.state_dict().items()
        }
    )
    rounded.eval()
    random, worst = torch.Generator().manual_seed(0), 0.0
    for height, width in sizes:
        pixels = torch.randn(1, 3, height, width, generator=random)
        with torch.no_grad():
            expected = rounded(pixels).numpy()
        output = session.run(["output"], {"input": pixels.numpy()})[0]
        worst = max(worst, float(np.abs(output - expected).max()))
    return worst
