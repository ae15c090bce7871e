"""How good is the fused depth? Every method on every scene, against exact depth.

python benchmarks/fusion_quality.py [--json FILE] [--seeds 5] [--frames 3] [--only WORD]

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
from quality.cases import Case, all_cases
from quality.methods import METHODS
from quality.scores import COLUMNS, score
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Scores = dict[str, dict[str, dict[str, float]]]
"""Scene -> method -> column -> mean over its frames."""


def run(cases: Iterable[Case]) -> Scores:
    collected: dict[str, dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with Progress() as progress:
        task = progress.add_task("frames", total=None)
        for case in cases:
            progress.update(task, advance=1, description=case.name)
            for name, method in METHODS.items():
                collected[case.name][name].append(score(case, method(case)))
    return {scene: {method: _mean(rows) for method, rows in methods.items()} for scene, methods in collected.items()}


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    means = {}
    for column in COLUMNS:
        values = [row[column] for row in rows if np.isfinite(row.get(column, np.nan))]
        means[column] = float(np.mean(values)) if values else float("nan")
    return means


def show(scores: Scores, console: Console) -> None:
    table = Table(title="relative error of depth, and what goes with it")
    table.add_column("scene")
    table.add_column("method")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for scene, methods in scores.items():
        for method, row in methods.items():
            values = (f"{row[c]:.3f}" if np.isfinite(row[c]) else "" for c in COLUMNS)
            table.add_row(scene, method, *values, style="bold" if method == "depthd" else None)
        table.add_section()
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all scores here too")
    parser.add_argument("--seeds", type=int, default=5, help="of the distorted truth on Motorcycle")
    parser.add_argument("--frames", type=int, default=3, help="of each virtual scene")
    parser.add_argument("--only", default="", help="scenes whose name contains this")
    options = parser.parse_args()
    cases = (case for case in all_cases(options.seeds, options.frames) if options.only in case.name)
    scores = run(cases)
    show(scores, Console(width=230))
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
