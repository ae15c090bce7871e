"""A student at work: network, optimiser, and the moving average of its weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor

from train.loss import training_loss
from train.network import Network
from train.settings import Settings, Student

_LARGEST_GRADIENT = 1.0
_LEAST_RATE = 0.01
"""The rate at the end, as a share of the highest."""


class Learner:
    def __init__(self, student: Student, network: Network, settings: Settings, device: str) -> None:
        self.student, self.settings, self.device = student, settings, device
        self.network = network.to(device).to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.parameters = list(self.network.parameters())
        groups = rate_groups(self.network, student, settings)
        fused = device == "cuda"
        self.optimiser = torch.optim.AdamW(groups, lr=settings.rate, weight_decay=settings.weight_decay, fused=fused)

    def learn(self, inputs: Tensor, inverse_depth: Tensor, step: int, progress: float) -> Tensor:
        """One step; the loss, still on the device, so that nothing waits for it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate * group["share"] * schedule(step, progress, group["warm_up_steps"])
        with torch.autocast(self.device, torch.bfloat16):
            predicted = self.network(inputs)
        loss = training_loss(predicted.float()[:, 0], inverse_depth, self.student.far_weight)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, _LARGEST_GRADIENT)
        for parameter in self.parameters:  # a gradient that is no number is dropped without asking the device
            if parameter.grad is not None:
                parameter.grad.nan_to_num_(0, 0, 0)
        self.optimiser.step()
        keep = min(self.settings.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self.average.parameters()), [p.detach() for p in self.parameters], 1 - keep)
        return loss.detach()

    def averaged_weights(self) -> dict[str, Tensor]:
        """The moving average in half precision, as it will be stored."""
        return {name: value.half().cpu() for name, value in self.average.state_dict().items()}

    def state(self) -> dict[str, Any]:
        parts = (self.network, self.average, self.optimiser)
        return {name: part.state_dict() for name, part in zip(("network", "average", "optimiser"), parts, strict=True)}

    def load_state(self, state: dict[str, Any]) -> None:
        for name, part in (("network", self.network), ("average", self.average), ("optimiser", self.optimiser)):
            part.load_state_dict(state[name])


def rate_groups(network: Network, student: Student, settings: Settings) -> list[dict[str, Any]]:
    """Optimiser groups with each stage's share of the learning rate; the decoder's is 1."""
    stages, decoder = network.encoder.stages(), network.decoder_parameters()
    groups: list[dict[str, Any]] = [{"params": decoder, "share": 1.0, "warm_up_steps": settings.warm_up_steps}]
    for depth, stage in enumerate(reversed(stages)):
        share = student.encoder_rate * student.layer_decay**depth
        warm_up_steps = settings.encoder_warm_up_steps
        groups.append({"params": list(stage.parameters()), "share": share, "warm_up_steps": warm_up_steps})
    return groups


def schedule(step: int, progress: float, warm_up_steps: int) -> float:
    """A short rise, then half a cosine down."""
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    return min(1.0, (step + 1) / warm_up_steps) * (_LEAST_RATE + (1 - _LEAST_RATE) * fall)
