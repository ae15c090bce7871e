"""Log lines."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from depthd import log


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The package's logger, left as it was found."""
    logger = logging.getLogger("depthd")
    before = logger.handlers, logger.level, logger.propagate
    yield logger
    logger.handlers, logger.level, logger.propagate = before


def test_a_line_has_its_time_and_a_level_only_where_it_matters(capsys: pytest.CaptureFixture[str]):
    log.configure()
    logging.getLogger("depthd.test").info("all is well")
    logging.getLogger("depthd.test").warning("careful")
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d all is well", lines[0])
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning: careful", lines[1])


def test_the_journal_gets_fields_and_texts_of_several_lines(tmp_path: Path, logger: logging.Logger):
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        logger.handlers = [log.JournalHandler(path)]
        logger.error("one\ntwo", extra={"FRAME_ID": 7})
        entry = journal.recv(4096)
        logger.handlers[0].close()
    assert b"MESSAGE\n" + (7).to_bytes(8, "little") + b"one\ntwo\n" in entry
    assert b"FRAME_ID=7\n" in entry
    assert b"PRIORITY=3\n" in entry
    assert b"CAMERA" not in entry
