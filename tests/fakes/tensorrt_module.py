"""A stand-in for TensorRT's Python module that enforces its recorded interface: names, types, order, shapes.

Recorded from the bindings of releases 10.0, 10.16 and 11.1 (python/src/infer/pyCore.cpp, parsers/pyOnnx.cpp).
It computes with ONNX Runtime, so that what comes out can be compared. What a plan gives wrongly is set by
`fault`.
"""

from __future__ import annotations

import enum
import pickle
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from fakes.device_memory import STREAMS


class WrongUse(AssertionError):
    """The code under test called TensorRT in a way that the real one forbids."""


def make_tensorrt(version: str = "11.1.0", gpu: str = "GPU A", fault: str = "") -> Any:
    """A module of this version. fault: '', 'nan', 'off', 'constant', 'half overflows' (below two float32
    levels).
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    flags = {"STRONGLY_TYPED": 1 if major == 10 else 0}
    flags |= {"EXPLICIT_BATCH": 0} if major == 10 else {"PREFER_JIT_PYTHON_PLUGINS": 1}
    builder_flags = ["TF32", "REFIT", "STRICT_NANS"] + (["FP16", "OBEY_PRECISION_CONSTRAINTS"] if major == 10 else [])
    module = SimpleNamespace(
        __version__=version,
        gpu=gpu,
        fault=fault,
        weak=major == 10 and minor < 12,
        builds=0,
        float32="float32",
        nptype=lambda dtype: np.dtype(dtype),
        NetworkDefinitionCreationFlag=enum.IntEnum("NetworkDefinitionCreationFlag", flags),
        BuilderFlag=enum.Enum("BuilderFlag", builder_flags),
        MemoryPoolType=enum.Enum("MemoryPoolType", ["WORKSPACE", "TACTIC_SHARED_MEMORY"]),
        TensorIOMode=enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"]),
        LayerType=enum.Enum("LayerType", [
            "NORMALIZATION", "SOFTMAX", "REDUCE", "ELEMENTWISE", "UNARY", "ACTIVATION", "CONVOLUTION",
            "OTHER",
        ]),
        ILogger=Logger,
        IProgressMonitor=ProgressMonitor,
    )  # fmt: skip
    module.Builder = lambda logger: Builder(module, _of(logger, Logger))
    module.OnnxParser = lambda network, logger: OnnxParser(_of(network, Network), _of(logger, Logger))
    module.Runtime = lambda logger: Runtime(module, _of(logger, Logger))
    return module


def _of(value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise WrongUse(f"{value!r} is no {kind.__name__}")
    return value


class Logger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self) -> None:
        self.initialised = True

    def log(self, severity: int, message: str) -> None:
        raise NotImplementedError


class ProgressMonitor:
    def __init__(self) -> None:
        self.initialised = True


class Builder:
    def __init__(self, module: Any, logger: Logger) -> None:
        self.module, self.logger = module, logger
        if not getattr(logger, "initialised", False):
            raise WrongUse("ILogger.__init__ was not called")

    def create_network(self, flags: int) -> Network:
        known = {1 << int(flag): flag.name for flag in self.module.NetworkDefinitionCreationFlag}
        names = {known.get(1 << bit) for bit in range(8) if _of(flags, int) >> bit & 1}
        if not names <= {"STRONGLY_TYPED", "EXPLICIT_BATCH"}:
            raise WrongUse(f"create_network with {names}")
        return Network(self.module, strong="STRONGLY_TYPED" in names or not hasattr(self.module.BuilderFlag, "FP16"))

    def create_builder_config(self) -> BuilderConfig:
        return BuilderConfig(self.module)

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: BuilderConfig) -> Any:
        _of(network, Network)
        _of(config, BuilderConfig)
        self.module.builds += 1
        if network.model is None or not config.profiles:
            raise WrongUse("a network with open sizes needs a parsed ONNX and a profile")
        if network.strong and any(f.name in ("FP16", "OBEY_PRECISION_CONSTRAINTS") for f in config.flags):
            self.logger.log(Logger.ERROR, "strongly typed networks take no precision flags")
            return None
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building Engine", None, 3)
            for step in range(3):
                if not monitor.step_complete("Building Engine", step):
                    return None
            monitor.phase_finish("Building Engine")
        ((name, shape),) = config.profiles[0].shapes.items()
        if name != network.get_input(0).name:
            raise WrongUse(f"the profile is for {name}")
        plan = {
            "onnx": network.model.SerializeToString(), "shape": shape, "version": self.module.__version__,
            "gpu": self.module.gpu, "flags": sorted(f.name for f in config.flags),
            "float32_layers": [layer.index for layer in network.layers if layer.is_kept],
            "strong": network.strong,
        }  # fmt: skip
        return HostMemory(pickle.dumps(plan))


class HostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class BuilderConfig:
    def __init__(self, module: Any) -> None:
        self.module = module
        self.flags: set[Any] = set()
        self.profiles: list[Profile] = []
        self.progress_monitor: Any = None
        self.timing_cache: Any = None

    def set_memory_pool_limit(self, pool: Any, limit: int) -> None:
        _of(pool, self.module.MemoryPoolType)
        _of(limit, int)

    def set_flag(self, flag: Any) -> None:
        self.flags.add(_of(flag, self.module.BuilderFlag))

    def add_optimization_profile(self, profile: Profile) -> int:
        if len(_of(profile, Profile).shapes) != 1:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, content: bytes) -> Any:
        version = self.module.__version__
        return SimpleNamespace(matches=_of(content, bytes) in (b"", version.encode()), serialize=version.encode)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.timing_cache = cache if cache.matches else self.timing_cache
        return cache.matches

    def get_timing_cache(self) -> Any:
        return self.timing_cache


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, low: Any, opt: Any, high: Any) -> None:
        if not tuple(low) == tuple(opt) == tuple(high):
            raise WrongUse("depthd builds for one size")
        self.shapes[_of(name, str)] = tuple(opt)


class Network:
    def __init__(self, module: Any, strong: bool) -> None:
        self.module, self.strong = module, strong
        self.model: Any = None
        self.layers: list[Layer] = []

    @property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> Any:
        value = self.model.graph.input[index]
        shape = tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim)
        return SimpleNamespace(name=value.name, shape=shape)

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]


class Layer:
    KINDS = {  # noqa: RUF012
        "LayerNormalization": "NORMALIZATION", "Softmax": "SOFTMAX", "ReduceMean": "REDUCE",
        "Add": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Erf": "UNARY", "Relu": "ACTIVATION",
        "Conv": "CONVOLUTION",
    }  # fmt: skip

    def __init__(self, network: Network, index: int, operator: str) -> None:
        self._network, self.index = network, index
        self.type = network.module.LayerType[self.KINDS.get(operator, "OTHER")]
        self._precision: Any = None
        self._output: Any = None

    @property
    def is_kept(self) -> bool:
        return self._precision == "float32" and self._output == "float32"

    @property
    def precision(self) -> Any:
        return self._precision

    @precision.setter
    def precision(self, value: Any) -> None:
        if not hasattr(self._network.module.BuilderFlag, "FP16"):
            raise AttributeError("'ILayer' object has no attribute 'precision'")
        self._precision = value

    def get_output(self, index: int) -> Any:
        return SimpleNamespace(dtype="float32")

    def set_output_type(self, index: int, dtype: Any) -> None:
        self._output = dtype


class OnnxParser:
    def __init__(self, network: Network, logger: Logger) -> None:
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]

    def parse_from_file(self, path: str) -> bool:
        try:
            model = onnx.load(_of(path, str))
            onnx.checker.check_model(model)
        except Exception as error:
            self._errors.append(f"In node -1 with name:  and operator:  (parse): {error}")
            return False
        self._network.model = model
        self._network.layers = [Layer(self._network, i, n.op_type) for i, n in enumerate(model.graph.node)]
        return True


class Runtime:
    def __init__(self, module: Any, logger: Logger) -> None:
        self._module, self._logger = module, logger

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        try:
            plan = pickle.loads(_of(content, bytes))
        except Exception:
            self._logger.log(Logger.ERROR, "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed")
            return None
        if (plan["version"], plan["gpu"]) != (self._module.__version__, self._module.gpu):
            self._logger.log(Logger.ERROR, f"engine plan file is not compatible: built for {plan['gpu']}")
            return None
        return Engine(self._module, plan)


class Engine:
    def __init__(self, module: Any, plan: dict[str, Any]) -> None:
        self.module, self.plan = module, plan
        self.session = onnxruntime.InferenceSession(plan["onnx"], providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = {o.name: o for o in self.session.get_outputs()}

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self.inputs, *self.outputs][_of(index, int)]

    def get_tensor_mode(self, name: str) -> Any:
        return self.module.TensorIOMode.INPUT if _of(name, str) in self.inputs else self.module.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> str:
        kind = {**self.inputs, **self.outputs}[name].type
        return {"tensor(float)": "float32", "tensor(int64)": "int64"}[kind]

    def create_execution_context(self) -> Context:
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._has_run = False
        self._out_shapes: dict[str, tuple[int, ...]] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if name not in self._engine.inputs or not isinstance(shape, tuple):
            raise WrongUse(f"set_input_shape({name!r}, {shape!r})")
        if shape != self._engine.plan["shape"]:
            return False
        self._shape = shape
        zeros = {name: np.zeros(shape, np.float32)}
        outputs = self._engine.session.run(None, zeros)
        self._out_shapes = {n: o.shape for n, o in zip(self._engine.outputs, outputs, strict=True)}
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if self._shape is None:
            return tuple(-1 for _ in self._engine.outputs[name].shape)
        return self._shape if name in self._engine.inputs else self._out_shapes[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in {**self._engine.inputs, **self._engine.outputs} or _of(address, int) <= 0:
            raise WrongUse(f"set_tensor_address({name!r}, {address!r})")
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        memory = STREAMS[_of(stream_handle, int)]
        if self._shape is None or set(self._addresses) != {*self._engine.inputs, *self._engine.outputs}:
            raise WrongUse("execute_async_v3 before every shape and address was set")
        if memory.capturing and not self._has_run:
            return False
        self._has_run = True
        (name,) = self._engine.inputs
        source = memory.arrays[self._addresses[name]]
        if source.nbytes != 4 * np.prod(self._shape):
            raise WrongUse(f"the input buffer has {source.nbytes} bytes")
        targets = [memory.arrays[self._addresses[n]] for n in self._engine.outputs]

        def work() -> None:
            outputs = self._engine.session.run(None, {name: source.reshape(self._shape)})
            for target, output in zip(targets, outputs, strict=True):
                np.copyto(target, self._spoilt(output).reshape(target.shape))

        memory.enqueue(work)
        return True

    def _spoilt(self, output: np.ndarray) -> np.ndarray:
        fault = self._engine.module.fault
        kept_float32 = len(self._engine.plan["float32_layers"]) or self._engine.plan["onnx"].count(b"Cast")
        if fault == "nan" or (fault == "half overflows" and kept_float32 < 60):
            return np.full_like(output, np.nan)
        if fault == "off":
            return output * np.float32(1.05)
        return np.full_like(output, output.flat[0]) if fault == "constant" else output
