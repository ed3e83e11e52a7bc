"""What an infotext says: its keys in their order, and what stands under them."""

from dataclasses import replace

import pytest
import torch

from modules import processing, shared
from modules.job.generation_params import ImageText, fixed_params, infotext_of, resolve
from modules.job.settings import InfotextSettings

IMAGE = ImageText(index=0, prompt_text="red apple", negative_prompt="worm", seed=5, subseed=9)
ALWAYS = ["Steps", "Sampler", "CFG scale", "Seed", "Size", "Model hash", "Model"]


@pytest.fixture
def p(sd_model):
    """A job as it stands when infotexts are written."""
    made = processing.StableDiffusionProcessingTxt2Img(
        prompt="red apple", width=96, height=64, steps=4, cfg_scale=5.0, sampler_name="Euler"
    )
    made.sd_model_name, made.sd_model_hash, made.sd_vae_name, made.sd_vae_hash = "model", "abc", "vae", "def"
    made.user = "ann"
    return made


@pytest.fixture
def set_option(monkeypatch):
    """Changes settings of the user."""
    return lambda **values: [monkeypatch.setitem(shared.opts.data, key, value) for key, value in values.items()]


def told(p, image=IMAGE):
    params = fixed_params(p, image, InfotextSettings.from_opts(shared.opts))
    return {key: value for key, value in params.items() if value is not None}


def test_a_plain_job_tells_no_more_than_it_must(p):
    p.sd_vae_name = p.sd_vae_hash = None
    assert list(told(p)) == ALWAYS
    assert told(p) == dict(zip(ALWAYS, [4, "Euler", 5.0, 5, "96x64", "abc", "model"], strict=True))


def test_all_keys_stand_in_their_order(p, set_option):
    set_option(
        CLIP_stop_at_last_layers=2,
        token_merging_ratio=0.2,
        token_merging_ratio_hr=0.3,
        randn_source="CPU",
        face_restoration_model="GFPGAN",
    )
    p.scheduler, p.restore_faces, p.tiling, p.enable_hr = "Karras", True, True, True
    p.image_cfg_scale, p.init_img_hash = 1.5, "hash"
    p.subseed_strength, p.seed_resize_from_w, p.seed_resize_from_h = 0.4, 32, 48
    p.is_using_inpainting_conditioning = True
    p.extra_generation_params["Denoising strength"] = 0.7
    assert list(told(p).items()) == [
        ("Steps", 4),
        ("Sampler", "Euler"),
        ("Schedule type", "Karras"),
        ("CFG scale", 5.0),
        ("Image CFG scale", 1.5),
        ("Seed", 5),
        ("Face restoration", "GFPGAN"),
        ("Size", "96x64"),
        ("Model hash", "abc"),
        ("Model", "model"),
        ("VAE hash", "def"),
        ("VAE", "vae"),
        ("Variation seed", 9),
        ("Variation seed strength", 0.4),
        ("Seed resize from", "32x48"),
        ("Denoising strength", 0.7),
        ("Conditional mask weight", 1.0),
        ("Clip skip", 2),
        ("Token merging ratio", 0.2),
        ("Token merging ratio hr", 0.3),
        ("Init image hash", "hash"),
        ("RNG", "CPU"),
        ("Tiling", True),
    ]


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("add_model_hash_to_info", "Model hash"),
        ("add_model_name_to_info", "Model"),
        ("add_vae_hash_to_info", "VAE hash"),
        ("add_vae_name_to_info", "VAE"),
    ],
)
def test_settings_leave_names_out(p, set_option, setting, key):
    assert key in told(p)
    set_option(**{setting: False})
    assert key not in told(p)


def test_fp8_is_told_of_models_that_are_stored_so(p, set_option, monkeypatch):
    set_option(fp8_storage="Enable", cache_fp16_weight=True)
    assert "FP8 weight" not in told(p)
    monkeypatch.setattr(type(shared.sd_model), "fp8", True)
    assert (told(p)["FP8 weight"], told(p)["Cache FP16 weight for LoRA"]) == ("Enable", True)


def test_what_computes_in_the_place_of_torch_is_told(p, monkeypatch):
    monkeypatch.setattr(shared.sd_model.model.runner, "title", "OpenVINO")
    assert told(p)["Backend"] == "OpenVINO"


def test_a_type_that_only_a_flag_of_ours_chooses_is_told(p, monkeypatch):
    for dtype, expected in ((torch.float16, None), (torch.bfloat16, "bf16")):
        monkeypatch.setattr(shared.sd_model, "loaded_as", replace(shared.sd_model.loaded_as, dtype=dtype))
        assert told(p).get("Precision") == expected


@pytest.mark.parametrize(
    ("sampler", "delta", "expected"), [("Euler a", 31337, 31337), ("Euler", 31337, None), ("Euler a", 0, None)]
)
def test_the_seed_delta_is_told_where_it_counts(p, set_option, sampler, delta, expected):
    set_option(eta_noise_seed_delta=delta)
    p.sampler_name = sampler
    p.eta = 1.0
    p.sampler = None
    assert told(p).get("ENSD") == expected


def test_a_job_can_have_a_mask_weight_and_clip_skip_of_its_own(p):
    p.is_using_inpainting_conditioning, p.inpainting_mask_weight, p.clip_skip = True, 0.25, 3
    assert (told(p)["Conditional mask weight"], told(p)["Clip skip"]) == (0.25, 3)


def test_own_keys_follow_the_fixed_ones(p, set_option):
    set_option(add_user_name_to_info=True)
    p.extra_generation_params |= {"Steps": 7, "Mine": "x", "Listed": ["a", "b"], "Left out": None}
    p.extra_generation_params["Called"] = lambda p, index, seed, comments, **others: (
        f"{p.steps}-{index}-{seed}-{comments}"
    )
    text = infotext_of(p, ImageText(1, "red apple", "worm", 5, 9), "v9", {"comments": "none"})
    assert text.startswith("red apple\nNegative prompt: worm\nSteps: 7, Sampler: Euler, CFG scale: 5.0, Seed: 5, ")
    assert text.endswith("Mine: x, Listed: b, Called: 4-1-5-none, Version: v9, User: ann")


def test_version_and_user_can_be_left_out(p, set_option):
    set_option(add_version_to_infotext=False, add_user_name_to_info=False)
    text = infotext_of(p, IMAGE, "v9", {})
    assert "Version" not in text and "User" not in text


@pytest.mark.parametrize("value", [["only one"], lambda **arguments: 1 / 0])
def test_a_value_that_cannot_be_had_is_left_out_with_a_log_line(value, caplog):
    assert resolve("Broken", value, 5, {}) is None
    assert "Broken" in caplog.text
