"""Jobs that change the checkpoint on their way: refiner, hires pass with its own, override_settings."""

import contextlib

import pytest

from modules import scripts, sd_models, shared
from modules.hypernetworks import hypernetwork as hypernetworks
from test.model_hooks import job_hooks
from test.quality.api_jobs import FACE, distance
from test.unit.tiny_networks import save_hypernetwork

HIRES = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}


@pytest.fixture
def on_second(txt2img, second_checkpoint):
    """Runs a job on the second checkpoint alone."""

    def run(**fields):
        overrides = fields.pop("override_settings", {})
        return txt2img(**fields, override_settings=overrides | {"sd_model_checkpoint": second_checkpoint})

    return run


def test_refiner_from_the_first_call_makes_the_refiners_picture(txt2img, on_second, second_checkpoint):
    refined = txt2img(steps=4, refiner_checkpoint=second_checkpoint, refiner_switch_at=0)
    alone = on_second(steps=4)
    assert refined.pixels == alone.pixels
    assert refined.fields["Refiner"].startswith("second [")
    assert refined.fields["Refiner switch at"] == "0.0"
    assert refined.fields["Model"] == "demo-emoji"
    assert "Refiner" not in alone.fields


def test_refiner_without_a_switch_point_takes_over_at_once(txt2img, on_second, second_checkpoint):
    assert txt2img(refiner_checkpoint=second_checkpoint).pixels == on_second().pixels


def test_refiner_in_the_middle_makes_a_picture_of_its_own(txt2img, on_second, second_checkpoint):
    base, refined, alone = (
        txt2img(steps=6),
        txt2img(steps=6, refiner_checkpoint=second_checkpoint, refiner_switch_at=0.5),
        on_second(steps=6),
    )
    assert distance(refined.images[0], base.images[0]) > 0
    assert distance(refined.images[0], alone.images[0]) > 0
    assert refined.fields["Refiner switch at"] == "0.5"


def test_refiner_that_is_never_reached_leaves_no_trace(txt2img, second_checkpoint):
    result = txt2img(refiner_checkpoint=second_checkpoint, refiner_switch_at=1)
    assert result.pixels == txt2img().pixels
    assert "Refiner" not in result.fields


def test_switch_by_steps(txt2img, second_checkpoint):
    by_steps = {"override_settings": {"refiner_switch_by_sample_steps": True}}
    half = txt2img(steps=4, refiner_checkpoint=second_checkpoint, refiner_switch_at=0.5, **by_steps)
    assert half.fields["Refiner switch by sampling steps"] == "True"
    assert "Refiner" in half.fields
    plain = txt2img(steps=4, **by_steps)
    assert plain.fields["Refiner switch by sampling steps"] == "True"
    assert plain.pixels == txt2img(steps=4).pixels


@pytest.mark.parametrize("sampler", ["DDIM", "LCM", "DPM++ SDE"])
def test_refiner_with_samplers_of_each_kind(txt2img, second_checkpoint, sampler):
    refined = txt2img(steps=4, sampler_name=sampler, refiner_checkpoint=second_checkpoint, refiner_switch_at=0.5)
    assert "Refiner" in refined.fields
    assert refined.pixels != txt2img(steps=4, sampler_name=sampler).pixels


def test_each_batch_begins_with_the_base_model_again(txt2img, second_checkpoint):
    refiner = {"steps": 4, "refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0.5}
    batches = txt2img(n_iter=2, **refiner, override_settings={"return_grid": False})
    assert batches.pixels == [*txt2img(**refiner).pixels, *txt2img(seed=2, **refiner).pixels]


@pytest.mark.parametrize("kept_models", [1, 2])
def test_each_batch_of_img2img_begins_with_the_base_model_again(img2img, second_checkpoint, monkeypatch, kept_models):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", kept_models)
    one_seed_for_all = {"subseed": 5, "subseed_strength": 1e-6}
    batches = img2img(
        n_iter=2, steps=4, refiner_checkpoint=second_checkpoint, refiner_switch_at=0.6, **one_seed_for_all
    )
    first, second = batches.images[-2:]
    assert distance(first, second) < 1
    assert distance(first, img2img(steps=4, **one_seed_for_all).images[0]) > 1


def test_next_job_and_settings_are_untouched(txt2img, second_checkpoint):
    before, settings = txt2img(), dict(shared.opts.data)
    txt2img(refiner_checkpoint=second_checkpoint, refiner_switch_at=0.3)
    assert shared.opts.data["sd_model_checkpoint"] == settings["sd_model_checkpoint"]
    assert txt2img().pixels == before.pixels
    assert shared.opts.data == settings


@pytest.mark.parametrize(
    "fields",
    [
        {"tiling": True},
        {"override_settings": {"token_merging_ratio": 0.5}},
        {"n_iter": 2, "override_settings": {"token_merging_ratio": 0.5, "return_grid": False}},
        {"n_iter": 2, "tiling": True, "override_settings": {"return_grid": False}},
    ],
    ids=["tiling", "token merging", "token merging in batches", "tiling in batches"],
)
@pytest.mark.parametrize("kept_models", [1, 2])
def test_patches_go_along_to_the_refiner(txt2img, on_second, second_checkpoint, monkeypatch, fields, kept_models):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", kept_models)
    refined = txt2img(steps=2, refiner_checkpoint=second_checkpoint, refiner_switch_at=0, **fields)
    assert refined.pixels == on_second(steps=2, **fields).pixels
    for model in sd_models.model_data.loaded_sd_models:
        assert list(model.patches.on) == ["learned vectors"]
        assert not any(getattr(layer, "padding_mode", "zeros") == "circular" for layer in model.modules())
        assert job_hooks(model.model) == []


@pytest.fixture
def hypernetwork(txt2img, tmp_path, monkeypatch):
    """Tag of a hypernetwork for the width of the embedded model's text, and the tag of one that does nothing."""
    monkeypatch.setattr(shared.cmd_opts, "hypernetwork_dir", str(tmp_path))
    save_hypernetwork(tmp_path / "strong.pt", 128)
    shared.reload_hypernetworks()
    yield "<hypernet:strong:0.02>"
    monkeypatch.undo()
    shared.reload_hypernetworks()


@pytest.mark.parametrize("kept_models", [1, 2])
def test_hypernetwork_goes_along_to_the_refiner(
    txt2img, on_second, second_checkpoint, hypernetwork, monkeypatch, kept_models
):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", kept_models)
    refiner = {"steps": 2, "refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0}
    with_network = {"prompt": f"red apple {hypernetwork}"}
    refined = txt2img(**refiner, **with_network)
    assert refined.pixels == on_second(steps=2, **with_network).pixels
    assert refined.pixels != txt2img(**refiner).pixels
    assert_unpatched()


def test_hypernetwork_acts_in_the_part_of_the_refiner(txt2img, second_checkpoint, hypernetwork, monkeypatch):
    """The first part is the same with and without it, as it does nothing before the refiner takes over."""
    seen = []

    def applied_by_hand(hypernetworks, unet):
        context = applied(hypernetworks, unet)
        is_second = next(m for m in sd_models.model_data.loaded_sd_models if m.model.diffusion_model is unet)
        seen.append(is_second.sd_checkpoint_info.model_name)
        return context if seen[-1] == "second" else contextlib.nullcontext()

    refiner = {"steps": 4, "refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0.5}
    plain = txt2img(**refiner)
    applied = hypernetworks.applied
    monkeypatch.setattr(hypernetworks, "applied", applied_by_hand)
    second_part = txt2img(**refiner, prompt=f"red apple {hypernetwork}")
    assert list(dict.fromkeys(seen)) == ["demo-emoji", "second"]
    assert distance(second_part.images[0], plain.images[0]) > 0
    monkeypatch.setattr(hypernetworks, "applied", applied)
    whole = txt2img(**refiner, prompt=f"red apple {hypernetwork}")
    assert distance(whole.images[0], second_part.images[0]) > 0
    assert_unpatched()


def test_hypernetwork_of_the_hires_prompt_acts_on_the_hires_checkpoint(
    txt2img, on_second, second_checkpoint, hypernetwork
):
    hires = HIRES | {"firstpass_image": FACE, "hr_prompt": f"red apple {hypernetwork}"}
    own = txt2img(**hires, hr_checkpoint_name=second_checkpoint)
    assert own.pixels == on_second(**hires).pixels
    assert own.pixels != txt2img(**hires | {"hr_prompt": "red apple"}, hr_checkpoint_name=second_checkpoint).pixels
    assert_unpatched()


def test_hypertile_goes_along_to_the_refiner(txt2img, on_second, second_checkpoint):
    tiles = {"hypertile_enable_unet": True, "hypertile_max_tile_unet": 128, "hypertile_enable_vae": True}
    fields = {"width": 256, "height": 256, "override_settings": tiles}
    refined = txt2img(refiner_checkpoint=second_checkpoint, refiner_switch_at=0, **fields)
    assert refined.pixels == on_second(**fields).pixels
    plain = {"width": 256, "height": 256}
    assert refined.pixels != txt2img(refiner_checkpoint=second_checkpoint, refiner_switch_at=0, **plain).pixels
    assert_unpatched()


def test_prompt_with_tags_is_encoded_once_for_all_batches_and_jobs(txt2img, hypernetwork, monkeypatch):
    encoded = []
    encode = type(shared.sd_model).get_learned_conditioning

    def counted(model, texts):
        encoded.append(list(texts))
        return encode(model, texts)

    monkeypatch.setattr(type(shared.sd_model), "get_learned_conditioning", counted)
    job = {"prompt": f"green pear {hypernetwork}", "negative_prompt": "plum", "n_iter": 2}
    first = txt2img(**job)
    assert encoded == [["plum"], ["green pear"]]
    assert txt2img(**job).pixels == first.pixels
    assert txt2img(**job | {"seed": 9}).pixels != first.pixels
    assert len(encoded) == 2


def assert_unpatched():
    for model in sd_models.model_data.loaded_sd_models:
        assert list(model.patches.on) == ["learned vectors"]
        assert job_hooks(model.model) == []


def test_hires_checkpoint(txt2img, second_checkpoint):
    own = txt2img(**HIRES, hr_checkpoint_name=second_checkpoint)
    assert own.fields["Hires checkpoint"].startswith("second [")
    assert own.pixels != txt2img(**HIRES).pixels
    same = txt2img(**HIRES, hr_checkpoint_name="Use same checkpoint")
    assert same.pixels == txt2img(**HIRES).pixels
    assert "Hires checkpoint" not in same.fields


def test_hires_pass_on_its_own_checkpoint_is_patched_too(txt2img, second_checkpoint, monkeypatch):
    seen = []

    def before_hr(runner, p):
        convolutions = [layer for layer in p.sd_model.modules() if hasattr(layer, "padding_mode")]
        is_merging = bool(job_hooks(p.sd_model.model))
        seen.append((p.sd_model.sd_checkpoint_info.model_name, {c.padding_mode for c in convolutions}, is_merging))

    monkeypatch.setattr(scripts.ScriptRunner, "before_hr", before_hr)
    patches = {"tiling": True, "override_settings": {"token_merging_ratio_hr": 0.5}}
    txt2img(**HIRES, **patches, hr_checkpoint_name=second_checkpoint)
    assert seen == [("second", {"circular"}, True)]


@pytest.mark.parametrize(
    ("setting", "first", "second"),
    [("first pass", True, False), ("second pass", False, True), ("both passes", True, True)],
)
def test_refiner_in_the_passes_the_setting_names(txt2img, second_checkpoint, setting, first, second):
    refiner = {"refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0}
    refined = txt2img(**HIRES, **refiner, override_settings={"hires_fix_refiner_pass": setting})
    expected = txt2img(
        **HIRES,
        hr_checkpoint_name=second_checkpoint if second else "demo-emoji",
        override_settings={"sd_model_checkpoint": second_checkpoint if first else "demo-emoji"},
    )
    assert refined.pixels == expected.pixels
    assert refined.fields.get("Hires refiner") == (None if setting == "second pass" else setting)


@pytest.mark.parametrize("kept_models", [1, 2])
def test_noise_schedule_of_the_settings_goes_along(txt2img, on_second, second_checkpoint, monkeypatch, kept_models):
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", kept_models)
    zero_snr = {"override_settings": {"sd_noise_schedule": "Zero Terminal SNR"}}
    second_pass = HIRES | {"firstpass_image": FACE} | zero_snr
    on_second()
    assert txt2img(**second_pass, hr_checkpoint_name=second_checkpoint).pixels == on_second(**second_pass).pixels


def test_override_of_the_checkpoint_holds_for_one_job(txt2img, on_second):
    before = txt2img()
    other = on_second()
    assert other.fields["Model"] == "second"
    assert other.pixels != before.pixels
    assert txt2img().pixels == before.pixels


def test_unknown_checkpoint_in_override_settings_is_refused(client, second_checkpoint):
    response = client.post("/sdapi/v1/txt2img", json={"override_settings": {"sd_model_checkpoint": "secnd"}})
    assert response.status_code == 404
    assert "the nearest is 'second" in response.json()["detail"]
