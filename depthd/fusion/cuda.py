"""The fusion on a GPU (kernels/fusion.cu) through CuPy. Same signature and result as reference.py."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from depthd.errors import DepthdError
from depthd.frame import Array, Camera, Fit, FitStatus, FusedPlanes, FusionResult
from depthd.fusion import cuda_program as program
from depthd.fusion.cuda_launch import launch_overlapping
from depthd.fusion.parameters import Parameters, check_planes

log = logging.getLogger(__name__)

_GRAPHS_KEPT = 32
"""A ring of slots and a few camera buffers each need a graph of their own, since a graph knows its addresses.
"""
_NON_PORTABLE_CLUSTER = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
_OVERLAPS_IN_GRAPHS_SINCE = 12_030
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_PAGEABLE = 0  # cudaMemoryTypeUnregistered


class CudaFusion:
    """See depthd.fusion.base.Fusion. Takes NumPy arrays, CuPy arrays, or some of each.

    All work is done on `stream`, a CuPy stream, of its own where none is given. Nothing is allocated once each
    combination of buffers has been seen. Raises DepthdError where the program cannot be compiled or the GPU fails;
    `reset` after that makes no promise.
    """

    def __init__(self, parameters: Parameters, stream: Any = None) -> None:
        self._cupy = import_cupy()
        self._runtime = self._cupy.cuda.runtime
        with gpu_errors(self._cupy):
            self.stream = stream or self._cupy.cuda.Stream(non_blocking=True)
            self._kernels = _load(self._cupy, parameters)
            self._buffers = _Buffers(self._cupy, parameters, self._kernels.sizes)
        self._mono_tables: dict[tuple[int, ...], tuple[Array, Array]] = {}
        self._steady: dict[tuple[int, ...], Array] = {}
        self._mono_shape: tuple[int, ...] = ()
        self._staging: dict[str, Array] = {}
        self._graphs: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.parameters = parameters
        self.reset()

    @property
    def is_cluster(self) -> bool:
        """Whether the fit runs as a thread-block cluster, or as a cooperative grid."""
        return self._kernels.cluster

    def change(self, parameters: Parameters) -> None:
        """Goes on with other thresholds for pictures of the same size; no graph is rebuilt."""
        if program.defines(parameters, True) != program.defines(self.parameters, True):
            raise ValueError("another picture size needs another fusion")
        self.parameters = parameters
        self._buffers.settings.set(program.settings(parameters).reshape(1).view(np.uint8), self.stream)
        self.stream.synchronize()

    def reset(self) -> None:
        with gpu_errors(self._cupy):
            for buffer in (self._buffers.state, self._buffers.evidence):
                self._runtime.memsetAsync(buffer.data.ptr, 0, buffer.nbytes, self.stream.ptr)
            for shape in self._steady:
                self._forget_mono(shape)
            self.stream.synchronize()

    def fuse(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> FusionResult:
        check_planes(stereo_depth_m, mono, out, self.parameters)
        with gpu_errors(self._cupy):
            self.enqueue(stereo_depth_m, mono, out)
            return self.result()

    def enqueue(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        """Enqueues the frame on `stream` and returns at once, where all host arrays are page-locked.

        What the caller's current stream has enqueued comes first.
        """
        arrays = (stereo_depth_m, mono, out.depth_m, out.source, out.sigma)
        if any(isinstance(array, self._cupy.ndarray) for array in arrays):
            self.stream.wait_event(self._cupy.cuda.get_current_stream().record())
        key = (mono.shape, *(_address(array) for array in arrays))
        if mono.shape != self._mono_shape and self._mono_shape:
            self._forget_mono(self._mono_shape)
        self._mono_shape = mono.shape
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = self._make_graph(stereo_depth_m, mono, out)
            if len(self._graphs) > _GRAPHS_KEPT:
                self._graphs.popitem(last=False)
        graph()

    def result(self) -> FusionResult:
        """Waits for what was enqueued, and says how it went."""
        self.stream.synchronize()
        line, status, sample_count, age_frames, pixels = program.unpack_result(self._buffers.result_on_host)
        fit = Fit(
            scale=line["scale"],
            shift=line["shift"],
            residual=line["noise"],
            inlier_share=line["inlier_share"],
            pearson_r=line["pearson_r"],
            sample_count=sample_count,
            age_frames=age_frames,
            status=FitStatus(status),
        )
        return FusionResult(fit, pixels)

    def launch_kernels(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        """The kernels alone, on the current stream, for arrays on the device; may be captured into a graph."""
        self.launch_steady(mono)
        self.launch_cells(stereo_depth_m, mono, out)
        self.launch_fit()
        self.launch_merge(stereo_depth_m, mono, out)

    def launch_after_steady(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        """The kernels after the first, which was launched on its own: stereo may come later than mono."""
        k = self._kernels
        k.cells((k.cell_blocks,), (program.CELL_THREADS,), self._picture(stereo_depth_m, mono))
        self.launch_fit()
        self.launch_merge(stereo_depth_m, mono, out)

    def launch_steady(self, mono: Array) -> None:
        """The first kernel, which sees only mono."""
        k, b = self._kernels, self._buffers
        blocks = -(-mono.size // program.STEADY_PX)
        arguments = (mono, self._steady_for(mono.shape), np.int32(mono.size), b.settings, b.state)
        k.steady((blocks,), (program.STEADY_THREADS,), arguments)

    def launch_cells(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        """The second kernel; `out` is not used."""
        k = self._kernels
        self._launch_after(k.cells, k.cell_blocks, program.CELL_THREADS, self._picture(stereo_depth_m, mono))

    def launch_fit(self) -> None:
        """The third kernel, which sees only cells."""
        k, b = self._kernels, self._buffers
        arguments = (b.settings, b.state, b.cells, b.tables, b.evidence, b.exchange, b.result)
        self._launch_after(k.solve, k.fit_blocks, program.THREADS, arguments, k.shared_bytes)

    def launch_merge(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> None:
        """The last kernel."""
        k = self._kernels
        planes = (out.depth_m, out.source, out.sigma, self._buffers.result)
        arguments = (*self._picture(stereo_depth_m, mono), *planes)
        self._launch_after(k.merge, k.merge_blocks, program.MERGE_THREADS, arguments)

    def _launch_after(
        self, kernel: Any, blocks: int, threads: int, arguments: tuple[Any, ...], shared_bytes: int = 0
    ) -> None:
        """On the current stream; where the GPU can, it begins while the kernel before it ends."""
        if self._kernels.overlap:
            stream = self._cupy.cuda.get_current_stream().ptr
            launch_overlapping(kernel, blocks, threads, arguments, shared_bytes, stream)
        else:
            kernel((blocks,), (threads,), arguments, shared_mem=shared_bytes)

    def launch_points(self, depth_m: Array, xyz: Array, camera: Camera) -> None:
        """float32 (height, width) -> (height, width, 3), metres, on the device; bit for bit as in kernels/shm.c."""
        k = self._kernels
        numbers = (
            np.float32(1.0 / camera.fx),
            np.float32(1.0 / camera.fy),
            np.float32(camera.cx),
            np.float32(camera.cy),
        )
        blocks = -(-depth_m.size // program.POINT_THREADS)
        k.points((blocks,), (program.POINT_THREADS,), (depth_m, xyz, *numbers))

    def launch_result(self) -> None:
        """Copies what `result` reads to the host; after the kernels."""
        self._copy_out(self._buffers.result_on_host, self._buffers.result)

    def prepare(self, mono_size: tuple[int, ...]) -> None:
        """Makes what maps of this size need, which must not happen while a graph is captured."""
        self._tables_for(mono_size)
        self._steady_for(mono_size)

    def _picture(self, stereo_depth_m: Array, mono: Array) -> tuple[Any, ...]:
        b = self._buffers
        height, width = np.int32(mono.shape[0]), np.int32(mono.shape[1])
        return (
            stereo_depth_m,
            self._steady_for(mono.shape),
            height,
            width,
            *self._tables_for(mono.shape),
            b.settings,
            b.state,
            b.cells,
        )

    def _make_graph(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> Callable[[], None]:
        """What a frame of these arrays takes: a captured graph, or the same without one where memory is
        pageable."""
        stereo, copy_stereo = self._on_device("stereo", stereo_depth_m)
        network, copy_mono = self._on_device("mono", mono)
        named = {"depth_m": out.depth_m, "source": out.source, "sigma": out.sigma}
        staged = {name: self._on_device(name, plane)[0] for name, plane in named.items()}
        planes = FusedPlanes(**staged)
        self.prepare(mono.shape)

        def work() -> None:
            copy_stereo()
            copy_mono()
            self.launch_kernels(stereo, network, planes)
            for name, plane in named.items():
                self._copy_out(plane, staged[name])
            self.launch_result()

        def directly() -> None:
            with self.stream:
                work()

        if any(self._is_pageable(array) for array in (stereo_depth_m, mono, *named.values())):
            return directly
        # Once before it is captured, so that every module is loaded; the same frame twice would be remembered twice.
        directly()
        return _FirstTimeDone(self._capture(work), self.stream)

    def _capture(self, work: Callable[[], None]) -> Any:
        self.stream.synchronize()
        with self.stream:
            self.stream.begin_capture()
            work()
            return self.stream.end_capture()

    def _on_device(self, name: str, array: Array) -> tuple[Array, Callable[[], None]]:
        """The array itself, or a device array of the same size and what copies into it."""
        if isinstance(array, self._cupy.ndarray):
            return array, _nothing
        array_on_host = np.asarray(array)
        staged = self._staging.get(name)
        if staged is None or staged.shape != array.shape:
            staged = self._staging[name] = self._cupy.empty(array.shape, array.dtype)
        address, bytes_ = array_on_host.ctypes.data, array_on_host.nbytes
        if not array_on_host.flags.c_contiguous:
            raise ValueError(f"{name} must be contiguous")
        target = staged
        return target, lambda: self._runtime.memcpyAsync(
            target.data.ptr, address, bytes_, _HOST_TO_DEVICE, self.stream.ptr
        )

    def _copy_out(self, host: Array, device: Array) -> None:
        if isinstance(host, self._cupy.ndarray):
            return
        self._runtime.memcpyAsync(host.ctypes.data, device.data.ptr, host.nbytes, _DEVICE_TO_HOST, self.stream.ptr)

    def _is_pageable(self, array: Array) -> bool:
        if isinstance(array, self._cupy.ndarray):
            return False
        return bool(self._runtime.pointerGetAttributes(array.ctypes.data).type == _PAGEABLE)

    def _steady_for(self, mono_shape: tuple[int, ...]) -> Array:
        """Mono of the last frame without its flicker; NaN where there was none."""
        if mono_shape not in self._steady:
            self._steady[mono_shape] = self._cupy.empty(mono_shape, np.float32)
            self._forget_mono(mono_shape)
        return self._steady[mono_shape]

    def _forget_mono(self, mono_shape: tuple[int, ...]) -> None:
        before = self._steady[mono_shape]
        self._runtime.memsetAsync(before.data.ptr, 0xFF, before.nbytes, self.stream.ptr)  # bytes of a NaN

    def _tables_for(self, mono_shape: tuple[int, ...]) -> tuple[Array, Array]:
        if mono_shape not in self._mono_tables:
            p = self.parameters
            sizes = ((p.width, mono_shape[1]), (p.height, mono_shape[0]))
            tables = [program.places(*size).view(np.uint8) for size in sizes]
            x, y = (self._cupy.asarray(table) for table in tables)
            self._cupy.cuda.get_current_stream().synchronize()
            self._mono_tables[mono_shape] = (x, y)
        return self._mono_tables[mono_shape]


class _FirstTimeDone:
    """A graph whose work was already done once when it was made."""

    def __init__(self, graph: Any, stream: Any) -> None:
        self._graph, self._stream, self._done = graph, stream, True

    def __call__(self) -> None:
        if self._done:
            self._done = False
            return
        self._graph.launch(self._stream)


class _Kernels:
    """The compiled program for one picture size."""

    def __init__(self, cupy: Any, p: Parameters, cluster: bool) -> None:
        options = (*program.OPTIONS, *program.defines(p, cluster))
        text = program.source()
        module = cupy.RawModule(code=text, options=options)
        together = module if cluster else cupy.RawModule(code=text, options=options, enable_cooperative_groups=True)
        self.cluster = cluster
        self.overlap = cluster and cupy.cuda.runtime.driverGetVersion() >= _OVERLAPS_IN_GRAPHS_SINCE
        self.fit_blocks = program.BLOCKS * (program.CLUSTERS if cluster else 1)
        self.steady = module.get_function("fusion_steady")
        self.cells = module.get_function("fusion_cells")
        self.merge = module.get_function("fusion_merge")
        self.points = module.get_function("fusion_points")
        self.solve = together.get_function("fusion_solve")
        self.cell_blocks, self.merge_blocks = program.cell_grid(p), program.merge_grid(p)
        sizes = cupy.zeros(8, np.int32)
        module.get_function("fusion_sizes")((1,), (1,), (sizes,))
        self.sizes = [int(size) for size in sizes.get()]
        self.shared_bytes = self.sizes[0]
        there = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["sharedMemPerBlockOptin"]
        if self.shared_bytes > there:
            raise DepthdError(
                f"pictures of {p.width}x{p.height} px need {self.shared_bytes} bytes of shared memory on the GPU, "
                f"which has {there}",
                "use device: cpu",
            )
        self.solve.max_dynamic_shared_size_bytes = self.shared_bytes
        if cluster:
            cupy.cuda.driver.funcSetAttribute(self.solve.kernel.ptr, _NON_PORTABLE_CLUSTER, 1)


class _Buffers:
    """Everything in device memory that lives as long as the fusion."""

    def __init__(self, cupy: Any, p: Parameters, sizes: list[int]) -> None:
        _, exchange, state, cells, tables, evidence, settings, result = sizes
        content = np.frombuffer(program.tables(p), np.uint8)
        expected = {
            tables: content.nbytes,
            settings: program.SETTINGS.itemsize,
            result: program.RESULT.itemsize,
        }
        if any(there != here for there, here in expected.items()):
            raise DepthdError(f"the CUDA program's layout is not this version's ({expected})", "install depthd again")
        self.exchange = cupy.zeros(max(exchange, 1), np.uint8)
        self.state = cupy.zeros(state, np.uint8)
        self.cells = cupy.zeros(cells, np.uint8)
        self.evidence = cupy.zeros(evidence, np.uint8)
        self.result = cupy.zeros(result, np.uint8)
        self.tables = cupy.asarray(content)
        self.settings = cupy.asarray(program.settings(p).reshape(1).view(np.uint8))
        pinned = cupy.cuda.alloc_pinned_memory(program.RESULT.itemsize)
        self.result_on_host = np.frombuffer(pinned, program.RESULT, 1)
        cupy.cuda.get_current_stream().synchronize()


def _load(cupy: Any, p: Parameters) -> _Kernels:
    """A cluster where the GPU can hold one, else a cooperative grid."""
    major = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["major"]
    if major >= 9:
        try:
            kernels = _Kernels(cupy, p, cluster=True)
            if _can_launch(cupy, kernels, p):
                return kernels
        except cupy.cuda.driver.CUDADriverError as error:
            log.info("no cluster of %d blocks on this GPU (%s): the fit runs as a grid", program.BLOCKS, error)
    return _Kernels(cupy, p, cluster=False)


def _can_launch(cupy: Any, kernels: _Kernels, p: Parameters) -> bool:
    """Runs the fit once over no samples. Raises CUDADriverError where the launch is refused."""
    b = _Buffers(cupy, p, kernels.sizes)
    fit = (b.settings, b.state, b.cells, b.tables, b.evidence, b.exchange, b.result)
    kernels.solve((kernels.fit_blocks,), (program.THREADS,), fit, shared_mem=kernels.shared_bytes)
    cupy.cuda.get_current_stream().synchronize()
    return True


def import_cupy() -> Any:
    """CuPy with a GPU, or DepthdError that says what is missing."""
    try:
        import cupy
    except ImportError:
        raise DepthdError("CuPy is not installed, which the GPU needs", "pip install cupy-cuda13x") from None
    try:
        cupy.cuda.runtime.getDevice()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DepthdError(f"no usable GPU: {error}", "install NVIDIA's driver, or use device: cpu") from None
    return cupy


@contextmanager
def gpu_errors(cupy: Any) -> Iterator[None]:
    """What a GPU can do wrong, as one line."""
    try:
        yield
    except cupy.cuda.compiler.CompileException as error:
        line = next((line for line in str(error).splitlines() if "error" in line), "")
        raise DepthdError(f"the CUDA fusion does not compile: {line}", "update CuPy, or use device: cpu") from error
    except cupy.cuda.memory.OutOfMemoryError as error:
        raise DepthdError(f"the GPU is out of memory: {error}", "free some, or use device: cpu") from error
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        raise DepthdError(f"the GPU failed: {error}", "look at dmesg, or use device: cpu") from error


def _address(array: Array) -> int:
    return int(array.data.ptr) if hasattr(array.data, "ptr") else int(array.ctypes.data)


def _nothing() -> None:
    """For arrays that are where they are needed."""
