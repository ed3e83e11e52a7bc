"""The facade: complete when imported, looked-up attributes, slots."""

import subprocess
import sys

import pytest
import torch

from modules import devices, shared, shared_items, shared_options
from modules.memmon import MemUsageMonitor
from modules.options import Options
from modules.shared_state import State
from modules.shared_total_tqdm import TotalTQDM
from modules.styles import StyleDatabase


def test_what_extensions_import_is_there_with_its_type():
    assert isinstance(shared.opts, Options)
    assert isinstance(shared.state, State)
    assert isinstance(shared.prompt_styles, StyleDatabase)
    assert isinstance(shared.total_tqdm, TotalTQDM)
    assert isinstance(shared.mem_mon, MemUsageMonitor)
    assert shared.options_templates is shared.opts.data_labels
    assert shared.restricted_opts is shared_options.restricted_opts
    assert shared.hide_dirs == {"visible": True}
    assert shared.weight_load_location == "cpu"


def test_settings_added_to_the_templates_are_known_to_opts(monkeypatch):
    added = shared.options_section(("x", "X"), {"added_by_a_test": shared.OptionInfo(5, "x")})
    shared.options_templates.update(added)
    try:
        assert shared.opts.added_by_a_test == 5
    finally:
        del shared.options_templates["added_by_a_test"]


def test_it_needs_neither_gradio_nor_an_engine(tmp_path):
    code = (
        "import sys; sys.argv = ['x', '--data-dir', sys.argv[1], '--use-cpu', 'all']; from modules import shared;"
        "heavy = {'gradio', 'diffusers', 'transformers', 'modules.sd_models', 'modules.processing'} & set(sys.modules);"
        "assert not heavy, heavy; assert shared.sd_model is None"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


class TestModel:
    @pytest.fixture(autouse=True)
    def access(self, monkeypatch):
        access = shared.ModelAccess(get=lambda: None, set=shared._no_model_yet)
        monkeypatch.setattr(shared, "model_access", access)
        return access

    def test_without_a_provider_there_is_none(self):
        assert shared.sd_model is None
        with pytest.raises(RuntimeError, match="sd_models"):
            shared.sd_model = torch.nn.Module()

    def test_the_provider_is_asked_each_time(self):
        kept = []
        shared.set_model_provider(lambda: kept[-1] if kept else None, kept.append)
        first, second = torch.nn.Module(), torch.nn.Module()
        shared.sd_model = first
        assert shared.sd_model is first
        kept.append(second)
        assert shared.sd_model is second


def test_device_is_that_of_devices(monkeypatch):
    monkeypatch.setattr(devices, "device", torch.device("cpu"))
    assert shared.device is devices.device
    shared.device = torch.device("meta")
    assert devices.device == torch.device("meta")


def test_latent_upscale_modes_are_arguments_of_interpolate():
    latent = torch.zeros(1, 4, 2, 2)
    for arguments in shared.latent_upscale_modes.values():
        assert torch.nn.functional.interpolate(latent, size=(4, 4), **arguments).shape == (1, 4, 4, 4)
    assert shared.latent_upscale_default_mode in shared.latent_upscale_modes


def test_choices_that_live_here_are_registered(monkeypatch):
    class Named:
        def __init__(self, name):
            self.name = name

    class Restorer:
        def name(self):
            return "CodeFormer"

    monkeypatch.setattr(shared, "sd_upscalers", [Named("Lanczos")])
    monkeypatch.setattr(shared, "face_restorers", [Restorer()])
    monkeypatch.setattr(shared, "tab_names", ["txt2img"])
    assert shared_items.items("upscalers") == ["Lanczos"]
    assert shared_items.items("face_restorers") == ["CodeFormer"]
    assert shared_items.items("tab_names") == ["txt2img"]
    assert "samples_save" in shared_items.items("setting_keys")


def test_checkpoint_names_follow_the_setting(monkeypatch):
    provider = shared_items.ItemProvider(lambda use_short: ["short" if use_short else "long"])
    monkeypatch.setitem(shared_items.providers, "checkpoints", provider)
    with shared.opts.overlay({"sd_checkpoint_dropdown_use_short": True}):
        assert shared_items.items("checkpoint_choices") == ["short"]
    assert shared_items.items("checkpoint_choices") == ["long"]
