"""What stages take from the settings."""

import dataclasses
from types import SimpleNamespace

import pytest

from modules import shared
from modules.job import settings
from modules.options import OptionValues

GROUPS = [group for group in vars(settings).values() if isinstance(group, type) and issubclass(group, OptionValues)]
GROUPS.remove(OptionValues)


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_is_a_setting_of_the_jobs_own_values(program, group):
    names = [field.name for field in dataclasses.fields(group)]
    assert names == sorted(names), "in the order of the alphabet, so that one is found"
    assert set(names) <= set(shared.opts.data_labels)
    first = names[0]
    with shared.opts.overlay({first: "the job's"}):
        assert getattr(group.from_opts(shared.opts), first) == "the job's"
    assert getattr(group.from_opts(shared.opts), first) == getattr(shared.opts, first)


@pytest.mark.parametrize(
    ("enabled", "kind", "needed"), [(True, "Approx NN", True), (False, "Approx NN", False), (True, "TAESD", False)]
)
def test_only_shown_previews_need_their_network(enabled, kind, needed):
    made = settings.StartSettings(
        face_restoration=False,
        live_previews_enable=enabled,
        samples_format="png",
        samples_save=True,
        show_progress_type=kind,
        tiling=False,
    )
    assert made.previews_need_network is needed


def test_a_job_may_have_a_mask_weight_of_its_own():
    group = SimpleNamespace(inpainting_mask_weight=0.5)
    assert settings.mask_weight_of(SimpleNamespace(), group) == 0.5
    assert settings.mask_weight_of(SimpleNamespace(inpainting_mask_weight=0), group) == 0
