"""What surfaces look like: colours, and materials as rows of the table that render/tables.cuh describes."""

from __future__ import annotations

import colorsys
from enum import IntEnum

from train.stage import Stage, Triple

FIELDS = 25
"""Numbers in a material, in the order of `Material` in render/tables.cuh."""


class Pattern(IntEnum):
    """As in render/patterns.cuh."""

    PLAIN = 0
    NOISE = 1
    WOOD = 2
    STRIPES = 3
    CHECKER = 4
    TILES = 5
    SPECKLE = 6
    PICTURE = 7
    MARBLE = 8
    PRINT = 9
    PLAID = 10
    GRADIENT = 11
    WINDOWS = 12


PLAIN, NOISE, WOOD, STRIPES, CHECKER, TILES = list(Pattern)[:6]
SPECKLE, PICTURE, MARBLE, PRINT, PLAID, GRADIENT, WINDOWS = list(Pattern)[6:]

_HOW_OFTEN = {
    PLAIN: 6, NOISE: 4, WOOD: 2, STRIPES: 1.2, CHECKER: 0.6, TILES: 0.5, SPECKLE: 0.8, PICTURE: 4, MARBLE: 0.6,
    PRINT: 1, PLAID: 0.6, GRADIENT: 0.5,
}  # fmt: skip
_HOW_OFTEN_CALM = {
    PLAIN: 11, NOISE: 2.5, WOOD: 3, STRIPES: 0.4, CHECKER: 0.2, TILES: 0.4, SPECKLE: 0.6, PICTURE: 1.2, MARBLE: 0.3,
    PRINT: 0.8, PLAID: 0.2, GRADIENT: 0.8,
}  # fmt: skip
_FREQUENCY = {
    PLAIN: (1, 1), NOISE: (2, 14), WOOD: (0.5, 2.5), STRIPES: (3, 20), CHECKER: (3, 14), TILES: (2, 8),
    SPECKLE: (8, 50), PICTURE: (0.4, 2.5), MARBLE: (1, 5), PRINT: (8, 30), PLAID: (4, 14), GRADIENT: (0.5, 2),
    WINDOWS: (1, 1),
}  # fmt: skip
"""Periods across an object of the given size."""

_COLOURS = {
    # hue, saturation, value: each a range
    "any": ((0, 1), (0.1, 0.9), (0.05, 0.8)),
    "pale": ((0, 1), (0, 0.3), (0.45, 0.9)),
    "dark": ((0, 1), (0, 0.6), (0.015, 0.1)),
    "wood": ((0.04, 0.11), (0.4, 0.8), (0.08, 0.55)),
    "vivid": ((0, 1), (0.6, 0.95), (0.2, 0.8)),
    "green": ((0.2, 0.4), (0.4, 0.85), (0.05, 0.4)),
    "skin": ((0.03, 0.09), (0.3, 0.65), (0.15, 0.75)),
    "grey": ((0, 1), (0, 0.1), (0.03, 0.8)),
}

_KINDS = {"any": (3, 1), "grey": (3, 5), "pale": (3, 4), "dark": (2, 3), "wood": (2, 3), "vivid": (2, 0.7)}
"""How often each is drawn, in any scene and in a calm one."""


def colour(stage: Stage, kind: str | None = None) -> Triple:
    """Linear reflectance, red green blue."""
    kind = kind or stage.choose(tuple(_KINDS), [pair[stage.calm] for pair in _KINDS.values()])
    hue, saturation, value = (stage.between(*span) for span in _COLOURS[kind])
    return colorsys.hsv_to_rgb(hue, saturation, value)


def material(
    stage: Stage,
    pattern: Pattern | None = None,
    first: Triple | None = None,
    second: Triple | None = None,
    *,
    size: float = 1.0,
    matt: bool = False,
    specular: float | None = None,
    mirror: float | None = None,
    emission: float = 0.0,
    wrap_radius: float = 0.0,
    clear: float = 0.0,
) -> int:
    """A new material's number. size: the object's rough size in metres; wrap_radius: of a cylinder it goes round."""
    between, chance = stage.between, stage.chance
    if pattern is None:
        how_often = _HOW_OFTEN_CALM if stage.calm else _HOW_OFTEN
        pattern = stage.choose(tuple(how_often), tuple(how_often.values()))
    first = first or colour(stage, "wood" if pattern == WOOD else None)
    second = second or _second_colour(stage, pattern, first)
    size = max(size, 1e-3)
    if matt:
        specular, mirror = 0.0, 0.0
    if specular is None:
        specular = 0.0 if chance(0.45) else between(0.02, 0.6)
    if mirror is None:
        mirror = between(0.02, 0.25) if chance(0.15) else 0.0
    staggered_or_plank = 0.0
    if pattern == WOOD and size > 1.5 and chance(0.6):
        staggered_or_plank = between(0.06, 0.2)
    elif pattern == TILES and chance(0.4):
        staggered_or_plank = 1.0
    row = (
        *first,
        *second,
        float(pattern),
        between(*_FREQUENCY[pattern]) / size,
        _stretch(stage, pattern),
        _level(stage, pattern),
        specular,
        10 ** between(0.8, 2.3),
        emission,
        mirror,
        float(stage.rng.randrange(stage.pictures)),
        between(0.2, 1.0) if not emission and chance(0.25) else 0.0,
        0.0 if emission else stage.choose((0.0, between(0.05, 0.5), between(0.05, 0.9))),
        between(0, 200),
        1.0 if wrap_radius else 0.0,
        wrap_radius,
        float(stage.rng.randrange(3)),
        staggered_or_plank,
        between(0, 0.7),
        between(8, 60) / size,
        clear,
    )
    stage.materials.append(row)
    return len(stage.materials) - 1


def _second_colour(stage: Stage, pattern: Pattern, first: Triple) -> Triple:
    if pattern in (NOISE, WOOD, MARBLE, SPECKLE) and stage.chance(0.75):
        brightness = stage.between(0.3, 1.6)
        red, green, blue = (min(0.95, value * brightness * stage.between(0.85, 1.15)) for value in first)
        return red, green, blue
    return colour(stage)


def _stretch(stage: Stage, pattern: Pattern) -> float:
    if pattern == WOOD:
        return stage.between(4, 15)
    if pattern == PRINT:
        return stage.between(1.5, 4)
    if pattern == STRIPES:
        return stage.choose((0, 0, 1, stage.between(-3, 3)))
    options = {TILES: (1, 1, 2, 3), WINDOWS: (0.6, 1, 1.4), PICTURE: (1, 1, 0.7, 1.4)}
    return stage.choose(options.get(pattern, (1,)))


def _level(stage: Stage, pattern: Pattern) -> float:
    """Contrast of noise, duty of bars, width of joints, tint of a picture."""
    if pattern == PICTURE:
        return stage.choose((0, 0, 0.3, 0.8))
    spans = {NOISE: (0.8, 3.5), STRIPES: (0.2, 0.8), TILES: (0.02, 0.1), PLAID: (0.2, 0.7)}
    return stage.between(*spans[pattern]) if pattern in spans else 0.5


def plain(stage: Stage, kind: str | None = None, **options: float) -> int:
    return material(stage, PLAIN, colour(stage, kind), **options)


def metal(stage: Stage) -> int:
    grey = stage.between(0.15, 0.75)
    tint = (grey, grey * stage.between(0.9, 1), grey * stage.between(0.75, 1))
    mirror = stage.choose((0, stage.between(0.1, 0.6)))
    return material(
        stage, stage.choose((PLAIN, PLAIN, NOISE)), tint, size=0.5, specular=stage.between(0.4, 1.5), mirror=mirror
    )


def glass(stage: Stage) -> int:
    """Clear, more or less tinted, with glints and, at its rims, reflections."""
    value = stage.between(0.75, 0.95)
    tint = (value * stage.between(0.85, 1), value, value * stage.between(0.85, 1))
    if stage.chance(0.15):
        tint = colour(stage, "any")
    shine, mirror = stage.between(0.3, 1.5), stage.between(0.02, 0.1)
    return material(stage, PLAIN, tint, specular=shine, mirror=mirror, clear=stage.between(0.75, 0.97))


def black(stage: Stage) -> int:
    grey = stage.between(0.01, 0.06)
    return material(stage, PLAIN, (grey, grey, grey * stage.between(1, 1.3)), specular=stage.between(0.02, 0.5))


def hard(stage: Stage) -> int:
    """Metal, black plastic, or anything."""
    return stage.choose((metal, black, material))(stage)
