"""The processing objects and the order of steps of a run."""

import json
from dataclasses import replace

import pytest
import torch

from modules import devices, errors, paths, processing, script_callbacks, shared

SMALL = {"prompt": "red apple", "width": 64, "height": 64, "steps": 2, "seed": 1, "sampler_name": "Euler"}


def small_job(**fields):
    p = processing.StableDiffusionProcessingTxt2Img(**SMALL | fields)
    p.do_not_save_samples = p.do_not_save_grid = True
    return p


class Recorder:
    """A script runner that writes down which hooks are called."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append(name)


def test_hooks_are_called_in_their_order(sd_model):
    p = small_job()
    p.scripts = recorder = Recorder()
    processing.process_images(p)
    assert recorder.calls == [
        "before_process",
        "process",
        "before_process_batch",
        "after_extra_networks_activate",
        "process_batch",
        "process_before_every_sampling",
        "post_sample",
        "postprocess_batch",
        "postprocess_batch_list",
        "postprocess_image",
        "postprocess_maskoverlay",
        "postprocess_image_after_composite",
        "postprocess",
    ]


def test_the_last_job_is_remembered_for_the_page_when_it_is_over(sd_model, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "data_path", str(tmp_path))
    last = tmp_path / "params.txt"
    texts = []
    for prompt in ("red apple", "green pear"):
        texts.append(processing.process_images(small_job(prompt=prompt)).infotexts[0])
        assert last.read_text("utf8") == texts[-1]
    monkeypatch.setattr(shared.cmd_opts, "no_prompt_history", True)
    processing.process_images(small_job())
    assert last.read_text("utf8") == texts[-1]


def test_a_last_job_that_cannot_be_remembered_costs_no_image(sd_model, tmp_path, monkeypatch, caplog):
    (tmp_path / "no folder").touch()
    monkeypatch.setattr(paths, "data_path", str(tmp_path / "no folder"))
    assert processing.process_images(small_job()).images
    assert "cannot be kept in" in caplog.text


@pytest.mark.parametrize("name", ["outpath_samples", "outpath_grids"])
def test_results_stay_in_the_folders_of_the_settings_where_others_are_hidden(sd_model, tmp_path, monkeypatch, name):
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    monkeypatch.setitem(shared.opts.data, "outdir_txt2img_samples", str(tmp_path / "mine"))
    p = small_job(steps=1)
    setattr(p, name, str(tmp_path / "mine" / ".." / "elsewhere"))
    with pytest.raises(errors.InvalidInput, match="--hide-ui-dir-config") as caught:
        processing.process_images(p)
    assert caught.value.field == name
    setattr(p, name, str(tmp_path / "mine" / "cats"))
    p.outpath_samples = p.outpath_samples or str(tmp_path / "mine")
    p.do_not_save_samples = False

    class Wanderer(Recorder):
        """A script that sends the files elsewhere once the job runs."""

        def postprocess_batch(self, p, *args, **kwargs):
            p.outpath_samples = str(tmp_path / "elsewhere")

    processing.process_images(p)
    p.scripts = Wanderer()
    with pytest.raises(errors.InvalidInput, match="outpath_samples"):
        processing.process_images(p)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["out\0puts", "notes.txt", "notes.txt/of/today"])
def test_a_folder_that_can_be_none_is_refused_before_the_image_is_made(program, tmp_path, name):
    (tmp_path / "notes.txt").write_text("mine")
    p = small_job()
    p.outpath_samples = str(tmp_path / name)
    with pytest.raises(errors.InvalidInput, match="outpath_samples: .* is (no folder|a file)"):
        processing.process_images(p)


def test_scripts_are_set_up_once_runner_and_arguments_are_there(program):
    p = small_job()
    p.scripts = recorder = Recorder()
    assert recorder.calls == []
    p.script_args = [0, True]
    p.script_args = [0, False]
    assert recorder.calls == ["setup_scrips"]


def test_an_extension_can_take_gradients_while_sampling(sd_model):
    gradients = []

    def guide(params):
        with torch.enable_grad():
            x = params.x[:1].clone().requires_grad_(True)
            predicted = sd_model.apply_model(x, torch.full((1,), 500), {"c_crossattn": [params.text_cond]})
            gradients.append(torch.autograd.grad(predicted.square().mean(), x)[0])

    script_callbacks.on_cfg_denoiser(guide)
    try:
        processing.process_images(small_job(steps=1, cfg_scale=1.0))
    finally:
        script_callbacks.remove_callbacks_for_function(guide)
    assert gradients and all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.parametrize("upcast", [False, True])
def test_sampling_around_a_unet_is_as_its_model_needs_it(sd_model, monkeypatch, upcast):
    """A model that is sampled in float32 around its U-Net suspends the mixed arithmetic that others have."""
    for name in ("dtype", "dtype_inference"):
        monkeypatch.setattr(devices, name, torch.bfloat16)
    monkeypatch.setattr(sd_model, "loaded_as", replace(sd_model.loaded_as, upcast_sampling=upcast))
    seen = []

    def note(params):
        seen.append(torch.is_autocast_enabled("cpu"))

    script_callbacks.on_cfg_denoiser(note)
    try:
        # Texts of their own: what is encoded here in bfloat16 must not be found by another test.
        processing.process_images(small_job(steps=1, prompt=f"mixed {upcast}", negative_prompt=f"not {upcast}"))
    finally:
        script_callbacks.remove_callbacks_for_function(note)
    assert seen == [not upcast]


def test_the_model_of_a_job_is_the_loaded_one(sd_model):
    p = small_job(sd_model="anything")
    assert p.sd_model is shared.sd_model
    p.sd_model = None
    assert p.sd_model is shared.sd_model


def test_what_was_left_to_the_settings_is_filled_in(program, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "s_churn", 0.5)
    monkeypatch.setitem(shared.opts.data, "s_tmax", 0)
    p = small_job(s_noise=0.9)
    p.fill_fields_from_opts()
    assert (p.s_churn, p.s_tmax, p.s_noise) == (0.5, float("inf"), 0.9)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"prompt": None}, "prompt"), ({"prompt": []}, "prompt"), ({"width": 4}, "width"), ({"height": 7}, "width")],
)
def test_impossible_requests_name_their_field(sd_model, fields, field):
    with pytest.raises(errors.InvalidInput) as caught:
        processing.process_images(small_job(**fields))
    assert caught.value.field == field


def test_an_unknown_refiner_is_not_found(sd_model):
    with pytest.raises(errors.NotFound, match="nowhere") as caught:
        processing.process_images(small_job(refiner_checkpoint="nowhere", refiner_switch_at=0.5))
    assert caught.value.field == "refiner_checkpoint"


@pytest.mark.parametrize(("strength", "expected"), [(0.5, (5, 0.5, 64, 64)), (None, (-1, 0, 0, 0))])
def test_extras_of_the_seed_count_only_when_they_are_enabled(strength, expected):
    p = small_job(
        subseed=5,
        subseed_strength=0.5,
        seed_resize_from_h=64,
        seed_resize_from_w=64,
        seed_enable_extras=strength is not None,
    )
    assert (p.subseed, p.subseed_strength, p.seed_resize_from_h, p.seed_resize_from_w) == expected


def test_mask_blur_stands_for_both_directions():
    p = processing.StableDiffusionProcessingImg2Img(mask_blur=7)
    assert (p.mask_blur_x, p.mask_blur_y, p.mask_blur) == (7, 7, 7)
    p.mask_blur_y = 2
    assert p.mask_blur is None
    p.mask_blur = None
    assert (p.mask_blur_x, p.mask_blur_y) == (7, 2)


@pytest.mark.parametrize(
    ("own", "own_hr", "setting", "setting_hr", "expected"),
    [
        (0, 0, 0, 0, (0, 0)),
        (0.3, 0, 0.5, 0.6, (0.3, 0.6)),
        (0.3, 0, 0.5, 0, (0.3, 0.3)),
        (0, 0, 0.5, 0, (0.5, 0.5)),
        (0, 0.2, 0.5, 0.6, (0.5, 0.2)),
    ],
)
def test_token_merging_ratio(program, monkeypatch, own, own_hr, setting, setting_hr, expected):
    monkeypatch.setitem(shared.opts.data, "token_merging_ratio", setting)
    monkeypatch.setitem(shared.opts.data, "token_merging_ratio_hr", setting_hr)
    p = small_job()
    p.token_merging_ratio, p.token_merging_ratio_hr = own, own_hr
    assert (p.get_token_merging_ratio(), p.get_token_merging_ratio(for_hr=True)) == expected


def test_the_result_tells_the_request(sd_model):
    p = small_job(n_iter=2, styles=[])
    processed = processing.process_images(p)
    info = json.loads(processed.js())
    assert info["all_seeds"] == [1, 2] and info["seed"] == 1
    assert info["prompt"] == "red apple" and info["all_prompts"] == ["red apple"] * 2
    assert len(info["infotexts"]) == len(processed.images) == 2
    assert processed.infotext(p, 1) == info["infotexts"][1]
    assert p.runtime_context.model is sd_model


def test_an_error_in_a_batch_leaves_the_user_settings(sd_model, monkeypatch):
    before = shared.opts.CLIP_stop_at_last_layers

    def fail(*args, **kwargs):
        raise ValueError("broken sampler")

    monkeypatch.setattr(processing.StableDiffusionProcessingTxt2Img, "sample", fail)
    with pytest.raises(ValueError, match="broken sampler"):
        processing.process_images(small_job(override_settings={"CLIP_stop_at_last_layers": 2}))
    assert before == shared.opts.CLIP_stop_at_last_layers


def test_noise_of_create_random_tensors_is_that_of_a_job(sd_model):
    p = small_job()
    noise = []
    p.scripts = Recorder()
    p.scripts.process_before_every_sampling = lambda p, **kwargs: noise.append(kwargs["noise"].clone())
    processing.process_images(p)
    alone = processing.create_random_tensors((4, 8, 8), [1])
    assert torch.equal(noise[0], alone)
