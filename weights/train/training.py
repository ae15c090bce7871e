"""The run: pictures are cast, photographed and learned from until the time is over; at checkpoints every student is
judged, and the state of the run is kept so that it can be taken up again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.casting import Caster
from train.exported import load_exported
from train.learner import Learner
from train.network import Network
from train.renderer import Renderer
from train.settings import Settings
from train.supply import batches
from train.textures import atlas
from train.validation import Validation

STATE = "state.pt"
_REPORT_STEPS = 100
_KEEP_SECONDS = 45.0
"""A run that is cut off loses no more."""

Say = Callable[[str], None]


@dataclass
class Judged:
    """One student at one checkpoint."""

    student: str
    progress: float
    seconds: float
    step: int
    error: float


@dataclass
class Run:
    """How far a run has come."""

    seconds: float = 0.0
    step: int = 0
    judged: list[Judged] = field(default_factory=list)

    def best(self) -> Judged:
        return min(self.judged, key=lambda one: one.error)

    def last(self, student: str) -> Judged:
        return max((one for one in self.judged if one.student == student), key=lambda one: one.progress)


def weights_file(folder: Path, one: Judged) -> Path:
    return folder / f"{one.student}-{round(100 * one.progress):03d}.pt"


@dataclass(frozen=True)
class Inputs:
    """What a run reads. imagenet: the encoder's weights; start: an exported model that all weights begin with
    instead.
    """

    imagenet: Path
    validation: Path
    start: Path | None = None


def train(settings: Settings, inputs: Inputs, folder: Path, device: str, say: Say, side_by_side: bool = False) -> Run:
    """Trains all students, or goes on where `folder` says that a run stopped. Leaves their averaged weights there.

    side_by_side: see casting.Caster.
    """
    torch.manual_seed(settings.seed)
    run, learners = Run(), _learners(settings, inputs, device)
    if (folder / STATE).is_file():
        run = _take_up(folder / STATE, learners)
        torch.manual_seed(settings.seed + run.step)
        say(f"taken up at {run.seconds:.0f} s, step {run.step}")
    judge = Validation(inputs.validation, device)
    renderer = Renderer(atlas(settings.seed, settings.textures, settings.workers), device)
    say(f"{settings.textures} textures; {len(learners)} students of {_parameters(learners[0]):,} parameters")
    with batches(settings, run.step) as supply:
        caster = Caster(renderer, supply, side_by_side)
        with caster.learning():
            _learn(settings, run, learners, caster, judge, folder, say)
    return run


def _learn(
    settings: Settings, run: Run, learners: list[Learner], caster: Caster, judge: Validation, folder: Path, say: Say
) -> None:
    before, kept, report = run.seconds, run.seconds, Report(settings, run, learners[0].device, say)
    start = time.monotonic()
    progress = settings.progress(run.seconds, run.step)
    if progress < 1:
        caster.begin(*settings.size_at(progress, run.step))
    while progress < 1:
        pictures = caster.take()
        with report.waiting():
            caster.begin(*settings.size_at(progress, run.step + 1))
        losses = [learner.learn(*pictures, run.step, progress) for learner in learners]
        caster.keep_pace()
        run.step += 1
        run.seconds = before + time.monotonic() - start
        report.step(torch.stack(losses), progress)
        after = settings.progress(run.seconds, run.step)
        marks = [mark for mark in settings.checkpoints if progress < mark <= after]
        for mark in marks:
            _judge(run, learners, judge, mark, folder, say)
        if marks or run.seconds - kept > _KEEP_SECONDS:
            _keep(run, learners, folder / STATE)
            kept = run.seconds
        progress = after


class Report:
    """Tells how a run goes, every so many steps; that is also when it waits for the device."""

    def __init__(self, settings: Settings, run: Run, device: str, say: Say) -> None:
        self._settings, self._run, self._say = settings, run, say
        self._begin(torch.zeros(1, device=device))

    def _begin(self, sums: Tensor) -> None:
        self._step, self._seconds, self._waited, self._sums = self._run.step, self._run.seconds, 0.0, sums

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it lies what the learning waits for."""
        begin = time.monotonic()
        yield
        self._waited += time.monotonic() - begin

    def step(self, losses: Tensor, progress: float) -> None:
        self._sums = self._sums + losses
        steps = self._run.step - self._step
        if steps < _REPORT_STEPS and not self._settings.most_steps:
            return
        shown = ", ".join(f"{value:.4f}" for value in (self._sums / steps).tolist())
        rate = steps * self._settings.batch_size / max(self._run.seconds - self._seconds, 1e-6)
        self._say(
            f"{self._run.seconds:6.1f} s ({progress:.0%}), step {self._run.step}, loss {shown}, "
            f"{rate:.0f} pictures/s, {self._waited:.1f} s for casting to begin"
        )
        self._begin(torch.zeros_like(self._sums))


def _learners(settings: Settings, inputs: Inputs, device: str) -> list[Learner]:
    """All begin with the same weights."""
    learners = []
    for student in settings.students:
        torch.manual_seed(settings.seed)
        network = Network()
        network.encoder.load_imagenet(inputs.imagenet)
        if inputs.start is not None:
            load_exported(network, inputs.start)
        learners.append(Learner(student, network, settings, device))
    return learners


def _parameters(learner: Learner) -> int:
    return sum(parameter.numel() for parameter in learner.parameters)


def _judge(run: Run, learners: list[Learner], judge: Validation, mark: float, folder: Path, say: Say) -> None:
    for learner in learners:
        one = Judged(learner.student.name, mark, round(run.seconds, 1), run.step, judge.error(learner.average))
        run.judged.append(one)
        torch.save(learner.averaged_weights(), weights_file(folder, one))
        say(f"checkpoint {mark:.0%}: {one.student} has an error of {one.error:.4f} on the validation pictures")


def _keep(run: Run, learners: list[Learner], path: Path) -> None:
    state: dict[str, Any] = {
        "seconds": run.seconds,
        "step": run.step,
        "judged": json.dumps([vars(one) for one in run.judged]),
        "learners": [learner.state() for learner in learners],
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _take_up(path: Path, learners: list[Learner]) -> Run:
    state = torch.load(path, map_location="cpu", weights_only=True)
    for learner, kept in zip(learners, state["learners"], strict=True):
        learner.load_state(kept)
    return Run(state["seconds"], state["step"], [Judged(**one) for one in json.loads(state["judged"])])
