"""torchvision beside a torch its compiled operators do not fit."""

import subprocess
import sys

import pytest
import torch

from modules import torchvision_ops

BROKEN = """
import torch
for name in ("nms", "qnms"):
    @torch.library.register_fake(f"torchvision::{name}")
    def fake(dets, scores, iou_threshold):
        return dets
"""


def test_torchvision_can_be_imported():
    torchvision_ops.declare_missing()
    import torchvision  # noqa: F401


@pytest.mark.parametrize(
    ("content", "declared"), [(BROKEN, True), ("fine = True", False), ("raise ImportError", False)]
)
def test_operators_are_declared_only_where_they_are_missing(tmp_path, content, declared):
    (tmp_path / "torchvision.py").write_text(content)
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {sys.path[0]!r}]; "
        "from modules import torchvision_ops; print(torchvision_ops.declare_missing() is not None)"
    )
    root = torchvision_ops.__file__.rpartition("modules")[0]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(declared)


def test_declared_operators_have_the_names_torchvision_asks_for():
    assert [operator.partition("(")[0] for operator in torchvision_ops.OPERATORS] == ["nms", "qnms"]
    library = torch.library.Library("torchvision_ops_test", "FRAGMENT")
    for operator in torchvision_ops.OPERATORS:
        library.define(operator)
    assert hasattr(torch.ops.torchvision_ops_test, "nms")
