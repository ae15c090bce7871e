"""Faults on purpose are for tests alone."""

from __future__ import annotations

import pytest

from depthd.errors import UsageError
from depthd.faults import Hang, injected_fault


def test_a_normal_start_has_no_fault():
    assert injected_fault({}) is None


def test_a_fault_outside_a_test_is_refused():
    with pytest.raises(UsageError, match="DEPTHD_FAULT is set"):
        injected_fault({"DEPTHD_FAULT": "hang:3"})


def test_a_test_may_ask_for_one_by_name():
    assert injected_fault({"DEPTHD_FAULT": "hang:3", "DEPTHD_TESTING": "1"}) == Hang(3)
    with pytest.raises(UsageError, match="unknown"):
        injected_fault({"DEPTHD_FAULT": "burn", "DEPTHD_TESTING": "1"})
