"""The run: pictures are cast, photographed and learned from until the time is over; at checkpoints every student is
judged, and the state of the run is kept so that it can be taken up again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from train.learner import Learner
from train.network import Network, normalised
from train.renderer import Renderer
from train.sensor import photographed
from train.settings import Settings
from train.supply import batches
from train.textures import atlas
from train.validation import Validation

STATE = "state.pt"
_REPORT_STEPS = 50

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


def train(settings: Settings, imagenet: Path, validation: Path, folder: Path, device: str, say: Say) -> Run:
    """Trains all students, or goes on where `folder` says that a run stopped. Leaves their averaged weights there."""
    torch.manual_seed(settings.seed)
    run, learners = Run(), _learners(settings, imagenet, device)
    if (folder / STATE).is_file():
        run = _take_up(folder / STATE, learners)
        torch.manual_seed(settings.seed + run.step)
        say(f"taken up at {run.seconds:.0f} s, step {run.step}")
    judge = Validation(validation, device)
    renderer = Renderer(atlas(settings.seed, settings.textures, settings.workers), device)
    say(f"{settings.textures} textures; {len(learners)} students of {_parameters(learners[0]):,} parameters")
    with batches(settings, run.step) as supply:
        before, reported, sums = run.seconds, run.step, torch.zeros(len(learners), device=device)
        start = time.monotonic()
        waited = 0.0
        while (progress := settings.progress(run.seconds, run.step)) < 1:
            asked = time.monotonic()
            batch = next(supply)
            waited += time.monotonic() - asked
            height, width = settings.sizes[run.step % len(settings.sizes)]
            with torch.no_grad():
                radiance, inverse_depth = renderer(batch, height, width)
                inputs = normalised(photographed(radiance)).contiguous(memory_format=torch.channels_last)
            losses = [learner.learn(inputs, inverse_depth, run.step, progress) for learner in learners]
            sums += torch.stack(losses)
            run.step += 1
            if run.step % _REPORT_STEPS == 0 or settings.most_steps:
                shown = ", ".join(f"{value:.4f}" for value in (sums / (run.step - reported)).tolist())
                say(f"{run.seconds:6.1f} s, step {run.step}, loss {shown}, waited {waited:.1f} s for scenes")
                sums.zero_()
                reported, waited = run.step, 0.0
            run.seconds = before + time.monotonic() - start
            after = settings.progress(run.seconds, run.step)
            for mark in settings.checkpoints:
                if progress < mark <= after:
                    _judge(run, learners, judge, mark, folder, say)
                    _keep(run, learners, folder / STATE)
    return run


def _learners(settings: Settings, imagenet: Path, device: str) -> list[Learner]:
    """All begin with the same weights."""
    learners = []
    for student in settings.students:
        torch.manual_seed(settings.seed)
        network = Network()
        network.encoder.load_imagenet(imagenet)
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
