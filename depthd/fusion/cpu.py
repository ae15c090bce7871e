"""The fusion in C on all cores (kernels/fusion.c). Same signature and result as reference.py."""

from __future__ import annotations

import numpy as np

from depthd.frame import Array, Fit, FitStatus, FusedPlanes, FusionResult
from depthd.fusion.parameters import Parameters, check_planes


class CpuFusion:
    """See depthd.fusion.base.Fusion. The interpreter's lock is released while C works."""

    def __init__(self, parameters: Parameters, threads: int = 0) -> None:
        self.parameters = parameters
        import depthd._fusion

        self._fusion = depthd._fusion.Fusion(parameters, threads)

    def reset(self) -> None:
        self._fusion.reset()

    def fuse(self, stereo_depth_m: Array, mono: Array, out: FusedPlanes) -> FusionResult:
        check_planes(stereo_depth_m, mono, out, self.parameters)
        fit, pixels_per_source = self._fusion.fuse(
            stereo_depth_m, np.ascontiguousarray(mono), out.depth_m, out.source, out.sigma.view(np.uint16)
        )
        scale, shift, residual, inlier_share, pearson_r, sample_count, age_frames, status = fit
        return FusionResult(
            Fit(
                scale=scale,
                shift=shift,
                residual=residual,
                inlier_share=inlier_share,
                pearson_r=pearson_r,
                sample_count=sample_count,
                age_frames=age_frames,
                status=FitStatus(status),
            ),
            pixels_per_source,
        )
