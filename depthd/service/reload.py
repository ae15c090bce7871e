"""Taking over a changed configuration while frames go on."""

from __future__ import annotations

import logging

from depthd.config import Config
from depthd.errors import DepthdError
from depthd.pipeline import Pipeline

log = logging.getLogger(__name__)

LIVE = ("matcher", "mono", "fusion")
"""Sections that change without a restart. All others belong to what readers or the system hold on to."""


def changed_sections(old: Config, new: Config) -> list[str]:
    return [name for name in Config.model_fields if getattr(old, name) != getattr(new, name)]


def reload_into(pipeline: Pipeline, old: Config, new: Config) -> Config:
    """Applies what can be applied, says what needs a restart, and returns the configuration now in force.

    Raises DepthdError where a new part cannot be made; then nothing has changed.
    """
    changed = changed_sections(old, new)
    live = [name for name in changed if name in LIVE]
    if "mono" in live and "mono" in old.shared_memory.planes:
        raise DepthdError("mono has changed and its plane is published", "restart depthd: readers hold its size")
    applied = old.model_copy(update={name: getattr(new, name) for name in live})
    take_matcher = pipeline.prepare_matcher(applied.matcher, applied.mono.weights_dir) if "matcher" in live else None
    if "mono" in live:
        pipeline.change_mono(applied)
    elif "fusion" in live:
        pipeline.change_fusion(applied.fusion)
    if take_matcher is not None:
        take_matcher()
    _log_outcome(live, [name for name in changed if name not in LIVE])
    return applied


def _log_outcome(live: list[str], restart: list[str]) -> None:
    if live:
        log.info("reload: took over %s", ", ".join(live))
    if restart:
        log.warning("reload: %s changed too; restart depthd for that", ", ".join(restart))
    if not live and not restart:
        log.info("reload: nothing has changed")
