"""`python -m depthd` and the `depthd` command."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from depthd import cli
    except ModuleNotFoundError as missing:
        if missing.name not in {"typer", "rich"}:
            raise
        print(f"depthd: the commands need {missing.name}; pip install 'depthd[client]'", file=sys.stderr)
        sys.exit(1)
    cli.main()


if __name__ == "__main__":
    main()
