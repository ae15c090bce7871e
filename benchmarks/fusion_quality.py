"""How good is the fused depth? Every method on every scene, against exact depth.

python benchmarks/fusion_quality.py [--json FILE] [--markdown FILE] [--pictures FILE] [--seeds 5] [--frames 3]
                                    [--scene-seed 0] [--only WORD] [--no-sequences]

Errors are relative (|depth / truth - 1|), by what is wrong with stereo there: nearer than its range (near),
seen by the left eye only, unmatched, measured but off by more than 25 % (wrong), measured and right (kept).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from quality import calm, shapes
from quality.cases import Case, all_cases
from quality.methods import METHODS
from quality.pictures import Sheet
from quality.scores import COLUMNS, score
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Scores = dict[str, dict[str, dict[str, float]]]
"""Scene -> method -> column -> mean over its frames."""

CLASSES = ("error", "near", "left_only", "unmatched", "wrong", "kept")
MARGIN = 1.02
"""What depthd's error may be of the robust line's."""
CALM_SCENES = ("room", "left_only_band", "too_near")


def run(cases: Iterable[Case], sheet: Sheet) -> Scores:
    collected: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with Progress() as progress:
        task = progress.add_task("frames", total=None)
        for case in cases:
            progress.update(task, advance=1, description=case.name)
            for name, method in METHODS.items():
                result = method(case)
                collected[case.name][name].append(score(case, result))
                sheet.show(case, result)
    return {scene: {method: _mean(rows) for method, rows in methods.items()} for scene, methods in collected.items()}


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    means = {}
    for column in COLUMNS:
        values = [row[column] for row in rows if np.isfinite(row.get(column, np.nan))]
        means[column] = float(np.mean(values)) if values else float("nan")
    return means


def worse_than_line(scores: Scores) -> list[str]:
    """Scenes and hole classes in which depthd's error is above MARGIN times the robust line's."""
    found = []
    for scene, methods in scores.items():
        ours, line = methods["depthd"], methods["robust line"]
        found += [f"{scene}: {c} {ours[c]:.3f} > {line[c]:.3f}" for c in CLASSES if ours[c] > MARGIN * line[c]]
    return found


def summary(scores: Scores) -> dict[str, dict[str, float]]:
    """Method -> column -> mean over all scenes."""
    return {method: _mean([methods[method] for methods in scores.values()]) for method in METHODS}


def rows_of(scores: Scores) -> list[tuple[str, ...]]:
    return [
        (scene, method, *(f"{row[c]:.3f}" if np.isfinite(row[c]) else "" for c in COLUMNS))
        for scene, methods in (scores | {"mean of all": summary(scores)}).items()
        for method, row in methods.items()
    ]


def small_rows(scores: dict[str, dict[str, float]], columns: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(name, *(f"{row[c]:.4f}" if c in row else "" for c in columns)) for name, row in scores.items()]


def show(title: str, header: tuple[str, ...], rows: list[tuple[str, ...]], console: Console) -> None:
    table = Table(title=title)
    for column in header:
        table.add_column(column)
    for row in rows:
        table.add_row(*row, style="bold" if "depthd" in row else None)
    console.print(table)


def as_markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *rows)) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all scores here too")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")
    parser.add_argument("--pictures", type=Path, help="write a sheet of all scenes here (JPEG)")
    parser.add_argument("--seeds", type=int, default=5, help="of the distorted truth on Motorcycle")
    parser.add_argument("--frames", type=int, default=3, help="of each virtual scene")
    parser.add_argument("--scene-seed", type=int, default=0, help="of the virtual scenes")
    parser.add_argument("--only", default="", help="scenes whose name contains this")
    parser.add_argument("--no-sequences", action="store_true", help="without shapes, flicker and cuts")
    options = parser.parse_args()
    console, sheet = Console(width=250), Sheet()
    cases = all_cases(options.seeds, options.frames, options.scene_seed)
    scores = run((case for case in cases if options.only in case.name), sheet)
    tables = [("relative error of depth, and what goes with it", ("scene", "method", *COLUMNS), rows_of(scores))]
    if not options.no_sequences:
        in_time = calm.calm_scores(CALM_SCENES, options.scene_seed)
        seen = shapes.shape_scores(options.scene_seed)
        tables.append(("calm in time", ("scene", *calm.COLUMNS), small_rows(in_time, calm.COLUMNS)))
        tables.append(("shapes", ("method", *shapes.COLUMNS), small_rows(seen, shapes.COLUMNS)))
    for title, header, rows in tables:
        show(title, header, rows, console)
    worse = worse_than_line(scores)
    console.print(f"worse than the robust line in {len(worse)} of {len(CLASSES) * len(scores)} classes:", worse)
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n")
    if options.markdown:
        parts = [f"## {title}\n\n{as_markdown(header, rows)}" for title, header, rows in tables]
        parts.append(f"## worse than the robust line by more than 2 %\n\n{'; '.join(worse)}\n")
        options.markdown.write_text("\n".join(parts))
    if options.pictures:
        sheet.write(options.pictures)


if __name__ == "__main__":
    main()
