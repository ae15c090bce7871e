"""An 8-bit copy of an exported network for CPUs: half the file and, with VNNI instructions, less than half the time.

    python -m train.quantise MODEL.onnx VALIDATION.npz OUT.onnx        from the folder weights/

Activations are scaled by what every second validation picture shows; the others tell what the rounding costs. Meant for
ONNX Runtime on a CPU: its 8-bit activations are unsigned, which TensorRT does not take.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "validation", "out"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    stored = np.load(options.validation)
    pictures, depth_m = stored["pictures"], stored["depth_m"].astype(np.float64)
    quantise(options.model, pictures[::2], options.out)
    for path in (options.model, options.out):
        print(f"{path.name}: error {error(path, pictures[1::2], depth_m[1::2]):.4f} on the other half of the pictures")


def quantise(model: Path, pictures: NDArray[np.uint8], out: Path) -> None:
    """pictures: uint8 (n, height, width, 3) RGB, sides multiples of 32."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared = Path(folder) / "whole.onnx", Path(folder) / "prepared.onnx"
        onnx.save(with_whole_weights(onnx.load(model)), whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        temporary = out.with_suffix(".tmp")
        quantize_static(
            prepared,
            temporary,
            _Reader(inputs_of(pictures)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
        )
        temporary.replace(out)


def with_whole_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Undoes what export.with_half_weights did, for the quantiser wants constants."""
    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
        graph.initializer.remove(stored[node.input[0]])
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    return model


def inputs_of(pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    for picture in pictures:
        pixels = (picture.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
        yield np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


class _Reader:
    """What the quantiser asks its pictures of."""

    def __init__(self, inputs: Iterator[NDArray[np.float32]]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, Any] | None:
        pixels = next(self._inputs, None)
        return None if pixels is None else {"input": pixels}


def error(model: Path, pictures: NDArray[np.uint8], depth_m: NDArray[np.float64]) -> float:
    """As validation.py counts it."""
    import onnxruntime

    from train.validation import typical_error

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    outputs = [session.run(["output"], {"input": pixels})[0][0, 0] for pixels in inputs_of(pictures)]
    return typical_error(outputs, depth_m)


if __name__ == "__main__":
    main()
