"""Benchmarks that need another machine than the one that tests: at small sizes, and left out where they say nothing."""

import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import all as all_benchmarks
from benchmarks import gpu
from modules import torchvision_ops

KINDS = ("sd1",)


@pytest.mark.parametrize(("name", "parameters"), [("sd15", 859_520_964), ("sdxl", 2_567_463_684)])
def test_networks_have_the_sizes_of_the_real_ones(name, parameters):
    torchvision_ops.declare_missing()
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(**gpu.recipe_of(gpu.KINDS[name]).unet)
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters


def test_a_card_is_measured_against_diffusers(use, files, capsys):
    model = use("sd1")
    kind = replace(gpu.KINDS["sd15"], title="small", **gpu.TINY)
    gpu.measure(kind, model, gpu.pipeline_of(files[1]["sd1"], torch.float32, "cpu"), rounds=1)
    printed = capsys.readouterr().out
    assert "small: ours" in printed and "ratio" in printed and "small, beyond its networks" in printed


def test_what_needs_a_card_is_left_out_without_one(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["all.py", "--only", "gpu", "gpu_compiled"])
    monkeypatch.setattr(all_benchmarks, "device", lambda: all_benchmarks.NO_GPU)
    monkeypatch.setattr(all_benchmarks, "lines_of", None)
    all_benchmarks.main()
    assert capsys.readouterr().out.count("left out, there is no GPU") == 2
