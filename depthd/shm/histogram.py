"""Latencies over any length of time in fixed memory, as HdrHistogram does it: each to within one per cent."""

from __future__ import annotations

import math

import numpy as np

_GROWTH = 1.01
_LARGEST_NS = 3600 * 10**9
_LOG_GROWTH = math.log(_GROWTH)
_BUCKETS = int(math.log(_LARGEST_NS) / _LOG_GROWTH) + 2


class LatencyHistogram:
    """Counts values in buckets, each one per cent wider than the last: 1 ns to an hour in 2,900 buckets."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int64)
        self.count = 0
        self.largest_ns = 0

    def record(self, value_ns: int) -> None:
        """Adds one value; less than 1 ns counts as 1 ns, more than an hour as an hour."""
        value_ns = min(max(value_ns, 1), _LARGEST_NS)
        self._counts[int(math.log(value_ns) / _LOG_GROWTH)] += 1
        self.count += 1
        self.largest_ns = max(self.largest_ns, value_ns)

    def percentile(self, percent: float) -> float:
        """The value in ns below which `percent` of all lie, to within one per cent; NaN without values."""
        if self.count == 0:
            return math.nan
        rank = max(1, math.ceil(self.count * percent / 100.0))
        bucket = int(np.searchsorted(np.cumsum(self._counts), rank))
        return min(_GROWTH ** (bucket + 0.5), float(self.largest_ns))
