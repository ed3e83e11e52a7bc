"""Where a model goes and in which types, as the flags say."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from modules import devices
from modules.model_families import SD1
from modules.placement import Placement
from modules.shared_cmd_options import cmd_opts

CPU = torch.device("cpu")
HALF, FULL = torch.float16, torch.float32


@pytest.fixture
def card(monkeypatch):
    """The flags' choice as on a CUDA card, with --no-half-vae."""
    monkeypatch.setattr(devices, "device", torch.device("cuda"))
    monkeypatch.setattr(devices, "chosen", devices.Precision(HALF, FULL, HALF))


def test_all_is_float32_on_the_cpu():
    assert Placement.from_flags(CPU) == Placement(CPU, FULL, FULL, FULL)


def test_each_network_has_its_type(card):
    placement = Placement.from_flags(CPU)
    assert (placement.device, placement.dtype, placement.dtype_text, placement.dtype_vae) == (CPU, HALF, HALF, FULL)


def test_what_a_fallback_or_an_extension_does_to_the_names_of_devices_is_no_choice_of_the_flags(monkeypatch):
    monkeypatch.setattr(devices, "dtype_vae", torch.bfloat16)
    monkeypatch.setattr(devices, "fp8", True)
    assert Placement.from_flags(CPU) == Placement(CPU, FULL, FULL, FULL)


def test_channels_lie_together_in_half_precision_on_a_card_and_by_flag(card, monkeypatch):
    assert Placement.from_flags(CPU, fp8=True).channels_last
    monkeypatch.setattr(devices, "chosen", devices.Precision(FULL, FULL, FULL))
    assert not Placement.from_flags(CPU).channels_last
    monkeypatch.setattr(cmd_opts, "opt_channelslast", True)
    assert Placement.from_flags(CPU).channels_last


def test_sampling_around_a_narrow_unet_is_in_float32(monkeypatch):
    x = torch.ones(1, dtype=HALF)
    assert Placement.from_flags(CPU).upcast(x) is x
    monkeypatch.setattr(devices, "unet_needs_upcast", True)
    assert Placement.from_flags(CPU).upcast(x).dtype == FULL


def test_modules_are_asked_by_name():
    placement = Placement(CPU, HALF, FULL, torch.bfloat16)
    types = {name: placement.dtype_of(name) for name in SD1.prefixes}
    assert types == {"denoiser": HALF, "vae": FULL, "clip_l": torch.bfloat16}
    assert all(placement.device_of(name) == CPU for name in SD1.prefixes)


def test_it_is_replaced_not_changed():
    placement = Placement.from_flags(CPU)
    with pytest.raises(FrozenInstanceError):
        placement.dtype_vae = HALF
    assert replace(placement, dtype_vae=HALF) != placement


def test_a_module_may_compute_elsewhere():
    placement = replace(Placement.from_flags(CPU), devices={"vae": torch.device("meta")})
    assert [placement.device_of(name).type for name in SD1.prefixes] == ["cpu", "meta", "cpu"]
