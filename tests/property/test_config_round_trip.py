"""What `to_yaml` prints, `load` reads back as the same tree."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from depthd import config
from depthd.config import Config, RecordingCameraConfig, VirtualCameraConfig

# File systems and YAML both refuse control characters and lone surrogates.
names = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
rates = st.floats(min_value=1e-6, max_value=1e6, allow_nan=False)
cameras = st.one_of(
    st.builds(VirtualCameraConfig, fps=rates, seed=st.integers(-(10**12), 10**12), scene=names),
    st.builds(RecordingCameraConfig, path=names.map(Path), camera_file=st.none() | names.map(Path), fps=rates),
)


@given(
    camera=cameras,
    name=st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z"),
    model=names,
    mode=st.integers(0, 0o777),
    planes=st.lists(st.sampled_from(["left", "stereo_depth", "mono"]), unique=True),
)
def test_a_printed_tree_is_read_back_as_the_same_tree(camera, name, model, mode, planes) -> None:
    default = Config()
    tree = default.model_copy(
        update={
            "name": name,
            "camera": camera,
            "mono": default.mono.model_copy(update={"model": model}),
            "shared_memory": default.shared_memory.model_copy(update={"mode": mode, "planes": tuple(planes)}),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "printed.yaml"
        path.write_text(config.to_yaml(tree), encoding="utf-8")
        assert config.load(path) == tree
