"""What a training run is: everything but the machine. The card repeats it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Student:
    """One of the networks that learn side by side from the same pictures, to tell what a change is worth.

    encoder_rate: the encoder's learning rate as a share of the decoder's, at its last block; each block before it
    learns `layer_decay` times as fast as the next. far_weight: see loss.py.
    """

    name: str
    encoder_rate: float
    layer_decay: float = 1.0
    far_weight: float = 0.0


STUDENTS = (
    # As the first model's.
    Student("quick-encoder", encoder_rate=0.25),
    # The ImageNet features are kept more, the nearer to the picture.
    Student("slow-encoder", encoder_rate=0.1, layer_decay=0.9),
    # And what is far counts more.
    Student("slow-encoder-far", encoder_rate=0.1, layer_decay=0.9, far_weight=3.0),
)


IMAGENET = "ImageNet"


@dataclass(frozen=True)
class Settings:
    """seconds: of training, which the learning rate's schedule follows; making textures and exporting come on top."""

    seed: int = 1
    seconds: float = 850.0
    most_steps: int | None = None
    scenes_a_batch: int = 32
    views_a_scene: int = 2
    sizes: tuple[tuple[int, int], ...] = ((256, 448), (320, 448), (256, 448), (384, 384))
    """(height, width) of the pictures, batch by batch."""
    small_sizes: tuple[tuple[int, int], ...] = ((192, 320), (224, 320), (192, 320), (256, 256))
    small_until: float = 0.35
    """Share of the run that is spent on small pictures: twice as many a second, while the steps are large anyway."""
    textures: int = 512
    rate: float = 1e-3
    warm_up_steps: int = 300
    encoder_warm_up_steps: int = 1000
    """Longer than the decoder's, whose first gradients are those of random weights."""
    weight_decay: float = 0.01
    average: float = 0.999
    """Share of the moving average of the weights that a step keeps; the average is what is judged and exported."""
    checkpoints: tuple[float, ...] = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Shares of the run at which the students are judged. The rule, fixed before the run: the student and checkpoint
    with the least error on the validation pictures is the model."""
    workers: int = 12
    students: tuple[Student, ...] = STUDENTS[:1]
    start: str = IMAGENET
    """What the encoder begins with; or the name of an exported model that all weights begin with."""

    @property
    def batch_size(self) -> int:
        return self.scenes_a_batch * self.views_a_scene

    def size_at(self, progress: float, step: int) -> tuple[int, int]:
        """(height, width)."""
        sizes = self.small_sizes if progress < self.small_until else self.sizes
        return sizes[step % len(sizes)]

    def progress(self, seconds: float, step: int) -> float:
        """0 to 1."""
        by_steps = step / self.most_steps if self.most_steps else 0.0
        return min(1.0, max(seconds / self.seconds, by_steps))


def tiny() -> Settings:
    """The whole way in half a minute on a CPU, to see that it holds."""
    return Settings(
        seconds=600, most_steps=3, scenes_a_batch=2, sizes=((64, 96),), small_sizes=((32, 64),), textures=8,
        warm_up_steps=2, checkpoints=(0.5, 1.0), workers=1, students=STUDENTS,
    )  # fmt: skip
