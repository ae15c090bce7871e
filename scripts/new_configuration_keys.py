"""Says which keys a configuration file lacks, with their defaults: `new_configuration_keys.py FILE`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from depthd import config


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def main() -> None:
    file = Path(sys.argv[1])
    mine = dict(leaves(yaml.safe_load(file.read_text()) or {}))
    # The effective tree, so that a camera of another kind is compared with its own keys.
    every = dict(leaves(yaml.safe_load(config.to_yaml(config.load(file)))))
    new = {key: value for key, value in every.items() if key not in mine}
    print(f"kept {file}" + (f"; {len(new)} keys are not in it and have their defaults:" if new else ""))
    for key, value in new.items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
