"""An onnx graph with its edges, for code that rewrites it."""

from __future__ import annotations

from typing import Any

import numpy as np

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


class Graph:
    """The graph with its edges and its small constants."""

    def __init__(self, graph: Any) -> None:
        import onnx

        self.graph = graph
        self.onnx = onnx
        self.producer = {out: node for node in graph.node for out in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.results = {value.name for value in graph.output}
        self._weights = {weight.name: weight for weight in graph.initializer}

    def constant(self, name: str) -> Any:
        """The value of a weight or Constant node of at most four elements, else None."""
        weight = self._weights.get(name)
        node = self.producer.get(name)
        if weight is None and node is not None and node.op_type == "Constant":
            weight = next((a.t for a in node.attribute if a.name == "value"), None)
        value = None if weight is None else self.onnx.numpy_helper.to_array(weight)
        return value if value is not None and value.size <= 4 else None

    def scalar(self, name: str) -> float | None:
        value = self.constant(name)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def length(self, name: str) -> int:
        """Of a weight vector; 0 for anything else."""
        weight = self._weights.get(name)
        return int(weight.dims[0]) if weight is not None and len(weight.dims) == 1 else 0

    def only_consumer(self, name: str) -> Any:
        """The node that reads the values, if nobody else does; Shape reads none."""
        if name in self.results:
            return None
        found = [node for node in self.consumers.get(name, []) if node.op_type != "Shape"]
        return found[0] if len(found) == 1 else None

    def is_weight(self, name: str) -> bool:
        return name in self._weights

    def uses(self, name: str) -> int:
        """How many nodes read it."""
        return len(self.consumers.get(name, []))

    def vector(self, name: str) -> Any:
        """The value of a weight vector; None for anything else."""
        weight = self._weights.get(name)
        return self.onnx.numpy_helper.to_array(weight) if weight is not None and len(weight.dims) == 1 else None

    def weight(self, name: str) -> Any:
        """The value of a weight of any shape; None for anything else."""
        weight = self._weights.get(name)
        return None if weight is None else self.onnx.numpy_helper.to_array(weight)

    def matrix(self, name: str) -> Any:
        """The value of a weight matrix that one node reads; None for anything else."""
        weight = self._weights.get(name)
        if weight is None or len(weight.dims) != 2 or len(self.consumers[name]) != 1:
            return None
        return self.onnx.numpy_helper.to_array(weight)

    def add_weight(self, name: str, value: Any) -> str:
        """Adds a weight, or replaces the one of that name."""
        made = self.onnx.numpy_helper.from_array(value, name)
        if name in self._weights:
            self._weights[name].CopyFrom(made)
        else:
            self.graph.initializer.append(made)
            self._weights[name] = self.graph.initializer[-1]
        return name

    def replace(self, old: Any, new: Any) -> None:
        """Puts a node where another was, which must read what is there by then."""
        position = list(self.graph.node).index(old)
        self.graph.node.remove(old)
        self.graph.node.insert(position, new)

    def own(self, kind: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> Any:
        """A node of one of ONNX Runtime's own operators."""
        return self.onnx.helper.make_node(kind, inputs, outputs, name=name, domain=MICROSOFT, **attributes)

    def finish(self, model: Any) -> None:
        """Drops what nobody reads any more, and declares ONNX Runtime's operators."""
        drop_unused(self.graph)
        if all(opset.domain != MICROSOFT for opset in model.opset_import):
            model.opset_import.append(self.onnx.helper.make_opsetid(MICROSOFT, 1))


def ints_of(node: Any, attribute: str) -> list[int]:
    """A node's attribute that is a list of integers; empty if it has none of that name."""
    return next((list(a.ints) for a in node.attribute if a.name == attribute), [])


def drop_unused(graph: Any) -> None:
    """Removes nodes whose outputs nobody reads, and the weights that only they read."""
    while True:
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        unused = [node for node in graph.node if not used.intersection(node.output)]
        if not unused:
            break
        for node in unused:
            graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name not in used]:
        graph.initializer.remove(weight)


def shapes_of(model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of every value in an onnx model of fixed size, by running it once on zeros on the CPU."""
    import onnxruntime
    from onnx import helper

    probe = type(model)()
    probe.CopyFrom(model)
    results = {value.name for value in model.graph.output}
    inside = [name for node in model.graph.node for name in node.output if name and name not in results]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inside)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = {value.name: np.zeros(value.shape, np.float32) for value in session.get_inputs()}
    names = [*inputs, *(value.name for value in session.get_outputs())]
    values = [*inputs.values(), *session.run(None, inputs)]
    return {name: value.shape for name, value in zip(names, values, strict=True)}
