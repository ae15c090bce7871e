"""Half precision for strongly typed engines: a float32 ONNX becomes one whose heavy operators are float16.

TensorRT 11 and TensorRT for RTX have no FP16 flag any more; the types in the ONNX are the types of the
engine. What overflows or cancels in float16 in a vision transformer stays in float32 (TensorRT issues 2564,
3657, 4111 and 4748 tell how these engines give NaN): LayerNorm, Softmax and reductions always; at the second
level also the residual sums, whose magnitude grows from block to block; at the third everything but
convolutions and matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthd.errors import DepthdError

NORMALISING = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax", "LogSoftmax")
REDUCING = (
    "ReduceMean",
    "ReduceSum",
    "ReduceL2",
    "GlobalAveragePool",
    "Pow",
    "Sqrt",
    "Reciprocal",
    "Exp",
    "Log",
)
# A position grid resized in half precision shifts every token; Resize also takes its scales in float32 only.
SAMPLING = ("Resize", "Upsample", "GridSample", "Range", "CumSum")
ALWAYS_FLOAT32 = (*NORMALISING, *REDUCING, *SAMPLING)
HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")

LEVELS = (0, 1, 2)
"""How much stays in float32, cheapest first; the build takes the first whose output is right."""


def to_half(source: Path, out: Path, level: int = 0, in_float32: Sequence[str] = ALWAYS_FLOAT32) -> None:
    """Writes a mixed-precision copy of `source`; inputs and outputs stay float32.

    in_float32: operators that stay so at every level. A runtime whose normalisations sum up in float32
    whatever their type is (ONNX Runtime on CUDA) can do with (*REDUCING, *SAMPLING).

    Raises DepthdError where the onnx package is absent or the conversion fails.
    """
    onnx, convert = _import_converter()
    try:
        model = onnx.load(str(source))
        _fold_stored_halves(model, onnx)
        keep = [node.name for node in _named(model.graph.node) if _stays_float32(node, level)]
        converted = convert(
            model,
            keep_io_types=True,
            op_block_list=list(in_float32),
            node_block_list=keep,
            disable_shape_infer=False,
        )
        _drop_repeated(converted.graph)
        _join_casts(converted.graph, onnx)
        _sort(converted.graph)
        onnx.save(converted, str(out))
    except OSError:
        raise
    except Exception as error:  # the converter raises whatever its walk over the graph meets
        raise DepthdError(
            f"{source.name} cannot be turned into half precision: {' '.join(str(error).split())[:160]}",
            "build with --precision fp32",
        ) from None


def import_onnx() -> Any:
    """The onnx module, or DepthdError that says what to install."""
    try:
        import onnx
    except ImportError:
        raise DepthdError(
            "onnx is not installed, which half precision needs", "pip install 'depthd[engines]'"
        ) from None
    return onnx


def _import_converter() -> tuple[Any, Any]:
    onnx = import_onnx()
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise DepthdError(
            f"{error.name} is not installed, which half precision needs", "pip install 'depthd[engines]'"
        ) from None
    return onnx, convert_float_to_float16


def _stays_float32(node: Any, level: int) -> bool:
    if level >= 2:
        return node.op_type not in HEAVY
    return level == 1 and node.op_type in ("Add", "Sub", "Sum")


def _named(nodes: Sequence[Any]) -> Sequence[Any]:
    """The converter keeps nodes by name, and exporters need not give any."""
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type}_{index}"
    return nodes


def _fold_stored_halves(model: Any, onnx: Any) -> None:
    """Weights stored in float16 behind a Cast to float32 (as the embedded model's) become plain float32
    weights.
    """
    weights = {weight.name: weight for weight in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        stored = weights.get(node.input[0]) if node.op_type == "Cast" else None
        to_float32 = any(a.name == "to" and a.i == onnx.TensorProto.FLOAT for a in node.attribute)
        if stored is None or not to_float32 or stored.data_type != onnx.TensorProto.FLOAT16:
            kept.append(node)
            continue
        values = onnx.numpy_helper.to_array(stored).astype("float32")
        stored.CopyFrom(onnx.numpy_helper.from_array(values, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _drop_repeated(graph: Any) -> None:
    """Keeps the first of the nodes that write the same value: the converter of ONNX Runtime before 1.32 adds a Cast for
    each reader, all of one name, which is no valid graph.
    """
    written: set[str] = set()
    kept = []
    for node in graph.node:
        if not written.issuperset(node.output):
            kept.append(node)
            written.update(node.output)
    del graph.node[:]
    graph.node.extend(kept)


def _join_casts(graph: Any, onnx: Any) -> None:
    """Takes out each detour float32 -> float16 -> float32 that the converter leaves between operators.

    Through it the residual sums would overflow after all.
    """

    def is_cast(node: Any, to: int) -> bool:
        return node.op_type == "Cast" and any(a.name == "to" and a.i == to for a in node.attribute)

    narrowed = {n.output[0]: n.input[0] for n in graph.node if is_cast(n, onnx.TensorProto.FLOAT16)}
    detours = {
        n.output[0]: narrowed[n.input[0]]
        for n in graph.node
        if is_cast(n, onnx.TensorProto.FLOAT) and n.input[0] in narrowed
    }
    for node in graph.node:
        node.input[:] = [detours.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [node for node in graph.node if node.op_type != "Cast" or node.output[0] in used]
    used = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    kept = [node for node in kept if node.op_type != "Cast" or node.output[0] in used]
    del graph.node[:]
    graph.node.extend(kept)


def _sort(graph: Any) -> None:
    """Puts every node behind those it reads from, as ONNX demands; the converter appends its casts at the
    end.
    """
    known = {"", *(value.name for value in (*graph.input, *graph.initializer))}
    waiting = list(graph.node)
    ordered: list[Any] = []
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise ValueError(f"{waiting[0].name} reads what nothing writes")
        waiting = [node for node in waiting if not known.issuperset(node.input)]
        for node in ready:
            known.update(node.output)
        ordered += ready
    del graph.node[:]
    graph.node.extend(ordered)
