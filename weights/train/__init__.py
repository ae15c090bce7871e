"""Makes the embedded network: scenes are drawn, pictures cast, a network trained on them, and the best one exported.

    make train                 on a machine with an NVIDIA GPU
    python -m train --help     from the folder weights/

NOTES.md tells what was tried, what was expected of it, and what came of it.
"""
