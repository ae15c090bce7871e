"""Log lines."""

from __future__ import annotations

import logging
import re

import pytest

from depthd.log import to_stderr


def test_a_line_has_its_time_and_a_level_only_where_it_matters(capsys: pytest.CaptureFixture[str]):
    to_stderr()
    logging.getLogger("depthd.test").info("all is well")
    logging.getLogger("depthd.test").warning("careful")
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d all is well", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning: careful", lines[1])
