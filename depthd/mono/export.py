"""From a transformers checkpoint of Depth Anything (V1, V2, metric) to ONNX of any size.

Needs PyTorch and transformers, which depthd needs for nothing else: pip install 'depthd[export]'.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from depthd.errors import DepthdError

OPSET = 17
"""The first with LayerNormalization as one operator, which an engine can keep in float32 (see half.py)."""


def require_transformers() -> None:
    """Raises DepthdError unless PyTorch and transformers are installed."""
    try:
        import onnx
        import torch
        import transformers
    except ImportError as error:
        raise DepthdError(
            f"{error.name} is not installed, which the export needs", "pip install 'depthd[export]'"
        ) from None
    del onnx, torch, transformers


def export_onnx(checkpoint: Path, out: Path) -> None:
    """Writes the checkpoint in the folder `checkpoint` as an ONNX file.

    Input `pixel_values` float32 (N, 3, H, W), output `predicted_depth` float32 (N, H, W), H and W multiples
    of the patch. Raises DepthdError for a folder that holds no Depth Anything checkpoint.
    """
    require_transformers()
    import torch

    model = _load(checkpoint)
    patch_px = int(model.config.patch_size)
    example = torch.zeros(1, 3, 4 * patch_px, 6 * patch_px)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    dynamic = {"pixel_values": {0: "n", 2: "h", 3: "w"}, "predicted_depth": {0: "n", 1: "h", 2: "w"}}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns of every Python number; the sizes below are traced
            torch.onnx.export(
                _traceable(model),
                (example,),
                str(temporary),
                input_names=["pixel_values"],
                output_names=["predicted_depth"],
                dynamic_axes=dynamic,
                opset_version=OPSET,
                dynamo=False,
            )
        temporary.replace(out)
    except OSError as error:
        raise DepthdError(
            f"cannot write {out}: {error.strerror or error}", "make room or choose another place"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _load(checkpoint: Path) -> Any:
    from transformers import DepthAnythingForDepthEstimation

    if not (checkpoint / "config.json").is_file():
        raise DepthdError(f"{checkpoint} has no config.json", "give the folder of a transformers checkpoint")
    try:
        model = DepthAnythingForDepthEstimation.from_pretrained(checkpoint, local_files_only=True)
    except Exception as error:  # transformers raises whatever its parts raise
        reason = " ".join(str(error).split())[:160]
        raise DepthdError(f"{checkpoint} is no Depth Anything checkpoint: {reason}", "give another folder") from None
    return model.float().eval()


def _traceable(model: Any) -> Any:
    """The model's own forward; its head makes int() of the output size, which tracing would freeze.

    After transformers 5.23, models/depth_anything/modeling_depth_anything.py,
    DepthAnythingDepthEstimationHead.
    """
    import torch

    class Traceable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            patch_px = self.model.config.patch_size
            rows, columns = pixel_values.shape[2] // patch_px, pixel_values.shape[3] // patch_px
            features = self.model.backbone(pixel_values).feature_maps
            fused = self.model.neck(features, rows, columns)
            head = self.model.head
            depth = head.conv1(fused[head.head_in_index])
            depth = torch.nn.functional.interpolate(
                depth, size=(rows * patch_px, columns * patch_px), mode="bilinear", align_corners=True
            )
            depth = head.activation1(head.conv2(depth))
            return (head.activation2(head.conv3(depth)) * head.max_depth).squeeze(dim=1)

    return Traceable().eval()
