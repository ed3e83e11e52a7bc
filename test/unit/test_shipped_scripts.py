"""What the shipped scripts read and work out before and after their jobs."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from PIL import Image

from modules import processing, script_loading, script_ui, sd_models, sd_samplers, sd_vae, shared
from modules.errors import InvalidInput
from modules.job.records import keep_record
from modules.processing import Processed, StableDiffusionProcessingImg2Img, StableDiffusionProcessingTxt2Img

SCRIPTS = Path(__file__).resolve().parent.parent.parent / "scripts"


@pytest.fixture(scope="module")
def script(program):
    """The module of a shipped script."""
    return lambda name: script_loading.load_module(str(SCRIPTS / f"{name}.py"))


@pytest.fixture
def jobs(monkeypatch):
    """Every job makes one grey picture per batch place; returns copies of what was asked for."""
    done = []

    def process_images(p):
        done.append(SimpleNamespace(**vars(p)))
        p.all_prompts = [p.prompt] if isinstance(p.prompt, str) else p.prompt
        images = [Image.new("RGB", (p.width, p.height), (len(done), 0, 0)) for _ in range(p.batch_size)]
        return Processed(p, images, p.seed, f"job {len(done)}")

    monkeypatch.setattr(processing, "process_images", process_images)
    monkeypatch.setitem(shared.opts.data, "samples_save", False)
    monkeypatch.setitem(shared.opts.data, "grid_save", False)
    shared.state.begin("test")
    yield done
    shared.state.end()


def img2img(**fields):
    given = {"prompt": "red apple", "seed": 5, "width": 64, "height": 64, "denoising_strength": 0.5}
    given["init_images"] = [Image.new("RGB", (64, 64), "white")]
    return StableDiffusionProcessingImg2Img(**{**given, **fields})


@pytest.mark.parametrize(
    ("put_at_start", "prompts"),
    [(False, ["a ", "a ,b", "a ,c, d", "a ,b,c, d"]), (True, ["a ", "b,a ", "c, d,a ", "b,c, d,a "])],
)
def test_prompt_matrix_takes_all_choices_of_parts(script, put_at_start, prompts):
    assert script("prompt_matrix").combinations("a | b,| c, d ", ",", put_at_start) == prompts


def test_prompt_matrix_refuses_unknown_choices(script):
    matrix = script("prompt_matrix").Script()
    with pytest.raises(InvalidInput, match="prompt type other"):
        matrix.run(StableDiffusionProcessingTxt2Img(), False, False, "other", "comma", 0)
    with pytest.raises(InvalidInput, match="variations delimiter other"):
        matrix.run(StableDiffusionProcessingTxt2Img(), False, False, "positive", "other", 0)


def test_prompt_matrix_without_all_pictures_has_no_grid(script, jobs):
    p = StableDiffusionProcessingTxt2Img(prompt=["a|b"], seed=3, batch_size=3)
    result = script("prompt_matrix").Script().run(p, False, True, "positive", "space", 0)
    assert (p.prompt, p.seed, p.n_iter) == (["a", "a b"], [3, 4], 1)
    assert len(result.images) == 3
    assert result.index_of_first_image == 0


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('--prompt "red apple" --steps 7', {"prompt": "red apple", "steps": 7}),
        ("--prompt red apple --negative_prompt blue  car", {"prompt": "red apple", "negative_prompt": "blue car"}),
        ("--tiling true --restore_faces True", {"tiling": True, "restore_faces": True}),
        ("--styles 'a, b'", {"styles": ["a", "b"]}),
        ("--sampler_name K_Euler --cfg_scale 3", {"sampler_name": "Euler", "cfg_scale": 3.0}),
        ("--sampler_name 'dpm++ 2m karras' --steps 4.0", {"sampler_name": "DPM++ 2M Karras", "steps": 4}),
        ("--sampler_name unknown", {"prompt": "--sampler_name unknown"}),
        ("--tiling perhaps", {"prompt": "--tiling perhaps"}),
        ("--unknown 1", {"prompt": "--unknown 1"}),
        ("--steps many", {"prompt": "--steps many"}),
        ("--steps", {"prompt": "--steps"}),
        ("a -- b", {"prompt": "a -- b"}),
        ("--prompt 'open", {"prompt": "'open"}),
        (r"--prompt skirt \(medium\), cat --seed 5", {"prompt": r"skirt \(medium\), cat", "seed": 5}),
        (r'--prompt "skirt \(medium\), cat" --seed 5', {"prompt": r"skirt \(medium\), cat", "seed": 5}),
        ("--prompt a dog's ear --seed 5", {"prompt": "a dog's ear", "seed": 5}),
        ("--prompt 'tis cold --seed 5", {"prompt": "'tis cold", "seed": 5}),
        ("--prompt 'it's cold' --seed 5", {"prompt": "it's cold", "seed": 5}),
        ('--prompt a sign "open" --seed 5', {"prompt": 'a sign "open"', "seed": 5}),
        ('--prompt "red" and "blue" --seed 5', {"prompt": '"red" and "blue"', "seed": 5}),
        ('--prompt "a --steps 9 b" --seed 5', {"prompt": "a --steps 9 b", "seed": 5}),
        (r'--prompt "say \"no\"" --seed 5', {"prompt": 'say "no"', "seed": 5}),
        ('--prompt "red  apple" --negative_prompt ""', {"prompt": "red  apple", "negative_prompt": ""}),
        ("--prompt cat -- asleep --seed 5", {"prompt": "cat -- asleep", "seed": 5}),
        ("--prompt cat --steps=7", {"prompt": "--prompt cat --steps=7"}),
        ("cat --steps 7", {"prompt": "cat --steps 7"}),
        ("plain text", {"prompt": "plain text"}),
        ("--sd_model no-such-model", {"prompt": "--sd_model no-such-model"}),
    ],
)
def test_lines_of_prompts_from_file(script, line, values):
    assert script("prompts_from_file").read_line(line) == values


def test_line_may_not_choose_folders_where_they_are_hidden(script, monkeypatch):
    read_line = script("prompts_from_file").read_line
    assert read_line("--prompt a --outpath_samples /x") == {"prompt": "a", "outpath_samples": "/x"}
    monkeypatch.setattr(shared.cmd_opts, "hide_ui_dir_config", True)
    for name in ("outpath_samples", "outpath_grids"):
        with pytest.raises(InvalidInput, match="--hide-ui-dir-config"):
            read_line(f"--prompt a --{name} /x")
        inside = os.path.join(shared.opts.outdir_txt2img_samples, "cats")
        assert read_line(f"--prompt a --{name} {inside}")[name] == inside


def test_line_may_choose_the_checkpoint(script):
    prompts = script("prompts_from_file")
    info = next(iter(sd_models.checkpoints_list.values()))
    values = prompts.read_line(f"--sd_model {info.model_name}")
    job = prompts.job_of_line(StableDiffusionProcessingTxt2Img(), values, "start")
    assert job.override_settings == {"sd_model_checkpoint": info.name}


@pytest.mark.parametrize(("position", "prompt", "negative"), [("start", "line main", "x"), ("end", "main line", "x")])
def test_line_is_joined_to_the_prompt(script, position, prompt, negative):
    p = StableDiffusionProcessingTxt2Img(prompt="main", negative_prompt="")
    job = script("prompts_from_file").job_of_line(p, {"prompt": "line", "negative_prompt": "x"}, position)
    assert (job.prompt, job.negative_prompt, p.prompt) == (prompt, negative, "main")


def test_each_line_has_its_own_settings(script, jobs):
    second = next(iter(sd_models.checkpoints_list.values())).name
    p = StableDiffusionProcessingTxt2Img(override_settings={"CLIP_stop_at_last_layers": 2})
    script("prompts_from_file").Script().run(p, False, False, "start", f"--prompt cat --sd_model {second}\ndog")
    assert [job.override_settings for job in jobs] == [
        {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": second},
        {"CLIP_stop_at_last_layers": 2},
    ]
    assert p.override_settings == {"CLIP_stop_at_last_layers": 2}


def test_seeds_of_prompts_from_file(script, jobs):
    run = script("prompts_from_file").Script().run
    p = StableDiffusionProcessingTxt2Img(prompt="", seed=10, batch_size=2, n_iter=3)
    result = run(p, True, False, "start", "a\n\n b \n--prompt c --n_iter 5")
    assert [job.seed for job in jobs] == [10, 16, 22]
    assert [job.prompt for job in jobs] == ["a", "b", "c"]
    assert shared.state.job_count == 3 + 3 + 5
    assert (len(result.images), result.seed, result.all_prompts) == (6, 28, ["a", "b", "c"])

    jobs.clear()
    run(StableDiffusionProcessingTxt2Img(seed=-1), False, True, "start", "a\nb")
    assert jobs[0].seed == jobs[1].seed >= 0


def test_prompts_from_file_stop_when_interrupted(script, jobs):
    shared.state.interrupted = True
    result = script("prompts_from_file").Script().run(StableDiffusionProcessingTxt2Img(), False, False, "start", "a")
    assert result.images == []


def test_uploaded_prompts_are_shown(script):
    prompts = script("prompts_from_file")
    assert prompts.load_prompt_file(None)[1] == gr.update()
    assert prompts.load_prompt_file(b" a \nb\xff")[1]["value"] == "a\nb"
    assert [prompts.fitting_height(text)["lines"] for text in ("a", "a\nb")] == [2, 7]


@pytest.mark.parametrize(
    ("curve", "middle"), [("Linear", 0.4), ("Aggressive", 0.5 - 0.2 * 0.5**0.5), ("Lazy", 0.5 - 0.2 * (1 - 0.5**0.5))]
)
def test_loopback_strength_goes_along_a_curve(script, jobs, curve, middle):
    result = script("loopback").Script().run(img2img(), 3, 0.3, curve, "None")
    assert [job.denoising_strength for job in jobs] == pytest.approx([0.5, middle, 0.3])
    assert [job.seed for job in jobs] == [5, 6, 7]
    assert [job.inpainting_fill for job in jobs] == [0, 1, 1]
    assert jobs[1].init_images[0].getpixel((0, 0)) == (1, 0, 0)
    assert [image.size for image in result.images] == [(192, 64), (64, 64), (64, 64), (64, 64)]
    assert (result.seed, result.info) == (5, "job 1")
    assert jobs[0].extra_generation_params == {"Final denoising strength": 0.3, "Denoising curve": curve}


def test_loopback_repeats_from_the_start(script, jobs):
    result = script("loopback").Script().run(img2img(n_iter=2, batch_size=4), 2, 0.5, "Linear", "None")
    assert [job.seed for job in jobs] == [5, 6, 7, 8]
    assert [job.batch_size for job in jobs] == [1] * 4
    assert jobs[2].init_images[0].getpixel((0, 0)) == (255, 255, 255)
    assert [image.getpixel((0, 0))[0] for image in result.images[1:]] == [2, 4]


def test_single_loop_keeps_its_strength(script, jobs):
    result = script("loopback").Script().run(img2img(), 1, 0.1, "Linear", "None")
    assert jobs[0].denoising_strength == 0.5
    assert len(result.images) == 1


@pytest.mark.parametrize(
    ("prompt", "kind", "expected"),
    [
        ("red apple", "CLIP", "red apple, caption"),
        ("", "CLIP", "caption"),
        ("x", "DeepBooru", "x, tags"),
        ("x", "none", "x, "),
    ],
)
def test_loopback_may_describe_the_picture(script, jobs, monkeypatch, prompt, kind, expected):
    loopback = script("loopback")
    monkeypatch.setattr(shared, "interrogator", SimpleNamespace(interrogate=lambda image: "caption"))
    monkeypatch.setattr(loopback.deepbooru.model, "tag", lambda image: "tags")
    loopback.Script().run(img2img(prompt=prompt), 2, 0.5, "Linear", kind)
    assert [job.prompt for job in jobs] == [expected, expected]


def test_loopback_matches_the_colours_of_the_first_picture(script, jobs, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "img2img_color_correction", True)
    script("loopback").Script().run(img2img(), 2, 0.5, "Linear", "None")
    assert [job.color_corrections[0].shape for job in jobs] == [(64, 64, 3)] * 2
    assert (jobs[1].color_corrections[0] == jobs[0].color_corrections[0]).all()


@pytest.mark.parametrize(("flag", "made"), [("skipped", 2), ("interrupted", 1), ("stopping_generation", 1)])
def test_loopback_ends_early(script, jobs, monkeypatch, flag, made):
    process_images = processing.process_images

    def stop(p):
        setattr(shared.state, flag, True)
        return process_images(p)

    monkeypatch.setattr(processing, "process_images", stop)
    result = script("loopback").Script().run(img2img(n_iter=2), 3, 0.5, "Linear", "None")
    assert len(jobs) == made
    assert result.images == []


def test_upscaler_is_found_by_place_or_name(script):
    find = script("sd_upscale").find_upscaler
    assert find(0) is shared.sd_upscalers[0]
    assert find("lanczos").name == "Lanczos"
    for unknown in ("no such upscaler", 10_000):
        with pytest.raises(InvalidInput, match="There is no upscaler"):
            find(unknown)


def test_sd_upscale_makes_all_tiles_in_batches(script, jobs):
    p = img2img(batch_size=3, n_iter=2, init_images=[Image.new("RGBA", (64, 64))])
    result = script("sd_upscale").Script().run(p, "", 32, "Lanczos", 2.0)
    assert [len(job.init_images) for job in jobs] == [3, 3, 3] * 2
    assert [job.seed for job in jobs] == [5, 6, 7, 6, 7, 8]
    assert all(job.do_not_save_samples and job.do_not_save_grid for job in jobs)
    assert [image.size for image in result.images] == [(128, 128)] * 2
    assert p.extra_generation_params == {"SD upscale overlap": 32, "SD upscale upscaler": "Lanczos"}
    assert (result.seed, result.info) == (5, "job 1")


def test_sd_upscale_without_upscaler_keeps_the_size(script, jobs):
    result = script("sd_upscale").Script().run(img2img(), "", 0, "None", 4.0)
    assert [image.size for image in result.images] == [(64, 64)]


def test_missing_tiles_are_black(script, jobs, monkeypatch):
    monkeypatch.setattr(processing, "process_images", lambda p: Processed(p, [], p.seed, ""))
    result = script("sd_upscale").Script().run(img2img(), "", 0, "None", 1.0)
    assert result.images[0].getpixel((0, 0)) == (0, 0, 0)


def marked(size, box, mode="L"):
    mask = Image.new(mode, size)
    mask.paste("white", box)
    return mask


@pytest.mark.parametrize("box", [(80, 0, 128, 40), (0, 0, 128, 128)])
def test_sd_upscale_gives_each_tile_its_part_of_the_mask(script, jobs, box):
    p = img2img(batch_size=2, mask=marked((128, 128), box), latent_mask=marked((64, 64), box, "RGB"))
    (result,) = script("sd_upscale").Script().run(p, "", 0, "Nearest", 2.0).images
    whole = marked((128, 128), box)
    tiles = [(x, y) for y in (0, 64) for x in (0, 64)]
    expected = [whole.crop((x, y, x + 64, y + 64)) for x, y in tiles]
    expected = [mask for mask in expected if mask.getbbox()]
    assert [job.image_mask.getbbox() for job in jobs] == [mask.getbbox() for mask in expected]
    assert [job.latent_mask.size for job in jobs] == [(64, 64)] * len(expected)
    assert [job.batch_size for job in jobs] == [1] * len(expected)
    made = {place for place, (x, y) in enumerate(tiles) if whole.crop((x, y, x + 64, y + 64)).getbbox()}
    white = [place for place, corner in enumerate(tiles) if result.getpixel(corner) == (255, 255, 255)]
    assert set(white) == set(range(4)) - made, "where the mask marks nothing the enlarged image stays"


def test_sd_upscale_knows_what_an_inverted_mask_marks(script, jobs):
    p = img2img(mask=marked((128, 128), (0, 0, 128, 64)), inpainting_mask_invert=1)
    result = script("sd_upscale").Script().run(p, "", 0, "Nearest", 2.0).images[0]
    assert [job.image_mask.getextrema() for job in jobs] == [(0, 0)] * 2
    assert result.getpixel((0, 0)) == (255, 255, 255) != result.getpixel((0, 64))


@pytest.mark.parametrize("inverted", [0, 1])
def test_sd_upscale_with_a_mask_that_marks_nothing_is_left_to_the_job(script, jobs, inverted):
    mask = Image.new("L", (64, 64), 255 * inverted)
    script("sd_upscale").Script().run(
        img2img(batch_size=2, mask=mask, inpainting_mask_invert=inverted), "", 0, "Nearest", 2.0
    )
    assert [(job.batch_size, job.image_mask) for job in jobs] == [(2, mask)] * 2


@pytest.mark.parametrize("flag", ["interrupted", "stopping_generation"])
@pytest.mark.parametrize(
    ("name", "args"),
    [("sd_upscale", ("", 0, "Lanczos", 2.0)), ("poor_mans_outpainting", (32, 4, 1, ["right", "down"]))],
)
def test_no_tile_is_begun_once_stopped(script, jobs, monkeypatch, flag, name, args):
    process_images = processing.process_images

    def stop(p):
        setattr(shared.state, flag, True)
        return process_images(p)

    monkeypatch.setattr(processing, "process_images", stop)
    result = script(name).Script().run(img2img(n_iter=2), *args)
    assert len(jobs) == 1
    assert len(result.images) == 1


def with_masks(process_images):
    """Jobs that return a mask after each image, as the setting return_mask has it."""

    def process(p):
        result = process_images(p)
        for place in range(len(result.images), 0, -1):
            mask = Image.new("RGB", result.images[0].size, (0, 255, 0))
            keep_record(mask, "mask")
            result.images.insert(place, mask)
        return result

    return process


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sd_upscale", ("", 0, "Lanczos", 2.0)),
        ("poor_mans_outpainting", (32, 4, 1, ["right", "down"])),
        ("outpainting_mk_2", ("", 64, 8, ["left", "down"], 1.0, 0.05)),
        ("loopback", (2, 0.5, "Linear", "None")),
    ],
)
def test_returned_masks_are_no_part_of_the_image(script, jobs, monkeypatch, name, args):
    monkeypatch.setattr(processing, "process_images", with_masks(processing.process_images))
    result = script(name).Script().run(img2img(batch_size=2), *args)
    assert not any((0, 255, 0) in image.getdata() for image in result.images)


@pytest.mark.parametrize("subseed_strength", [0, 0.5])
def test_outpainting_makes_as_many_images_as_asked_for(script, jobs, subseed_strength):
    fields = {"n_iter": 2, "batch_size": 2, "seed": 5, "subseed": 100, "subseed_strength": subseed_strength}
    result = script("poor_mans_outpainting").Script().run(img2img(**fields), 32, 4, 1, ["right"])
    tiles = len(jobs) // 2
    first, second = jobs[0], jobs[tiles]
    assert len(result.images) == 4 and shared.state.job_count == 2 * tiles
    assert [job.batch_size for job in jobs] == [2] * 2 * tiles
    assert (first.seed, second.seed) == (5, 5 if subseed_strength else 7)
    assert (first.subseed, second.subseed) == (100, 102)
    assert result.images[0].getpixel((127, 0)) != result.images[2].getpixel((127, 0)), "tiles of different jobs"


def test_outpainting_fixes_a_random_seed_for_all_sides(script, jobs):
    for name, args in (
        ("outpainting_mk_2", ("", 64, 8, ["left", "right"], 1.0, 0.05)),
        ("poor_mans_outpainting", (32, 4, 1, ["right"])),
    ):
        jobs.clear()
        result = script(name).Script().run(img2img(seed=-1), *args)
        assert result.seed == jobs[0].seed >= 0
        assert jobs[1].seed == jobs[0].seed + (name == "poor_mans_outpainting")


def test_loops_tell_of_themselves_alone(script, jobs, monkeypatch):
    process_images = processing.process_images

    def fill(p):
        if p.inpainting_fill == 0:
            p.extra_generation_params["Masked content"] = "fill"
        return process_images(p)

    monkeypatch.setattr(processing, "process_images", fill)
    p = img2img()
    script("loopback").Script().run(p, 2, 0.5, "Linear", "None")
    assert ["Masked content" in job.extra_generation_params for job in jobs] == [True, False]
    assert (p.denoising_strength, p.seed, "Masked content" in p.extra_generation_params) == (0.5, 5, False)


def test_poor_mans_outpainting_makes_tiles_along_the_edges(script, jobs):
    p = img2img(init_images=[Image.new("RGB", (128, 128), "white")])
    result = script("poor_mans_outpainting").Script().run(p, 32, 4, 1, ["right"])
    assert result.images[0].size == (192, 128)
    assert (p.mask_blur, p.inpainting_fill, p.inpaint_full_res) == (8, 1, False)
    assert [job.seed for job in jobs] == list(range(5, 5 + len(jobs)))
    assert all(job.image_mask.getextrema()[1] == 255 for job in jobs)
    assert result.images[0].getpixel((0, 0)) == (255, 255, 255)


def test_outpainting_grows_side_by_side(script, jobs):
    p = img2img(n_iter=2, batch_size=2)
    result = script("outpainting_mk_2").Script().run(p, "", 64, 8, ["left", "down"], 1.0, 0.05)
    assert len(jobs) == shared.state.job_count == 4
    assert [(job.width, job.height, len(job.init_images)) for job in jobs[:2]] == [(64, 64, 2), (128, 64, 2)]
    assert [job.seed for job in jobs] == [5, 5, 7, 7]
    assert (p.mask_blur_x, p.mask_blur_y, p.inpainting_fill) == (32, 32, 1)
    assert [image.size for image in result.images] == [(256, 256), *[(128, 128)] * 4]
    assert result.images[1].getpixel((127, 0)) == (255, 255, 255)
    assert result.images[1].getpixel((0, 0)) == (1, 0, 0)
    assert result.images[1].getpixel((0, 127)) == (2, 0, 0)


def test_outpainting_without_sides_returns_the_picture(script, jobs):
    result = script("outpainting_mk_2").Script().run(img2img(), "", 64, 8, [], 1.0, 0.05)
    assert jobs == []
    assert [image.size for image in result.images] == [(64, 64)]


def test_scripts_save_their_pictures(script, jobs, monkeypatch):
    saved = []
    monkeypatch.setitem(shared.opts.data, "samples_save", True)
    monkeypatch.setitem(shared.opts.data, "grid_save", True)
    for name in ("sd_upscale", "poor_mans_outpainting", "outpainting_mk_2", "loopback", "prompt_matrix"):
        monkeypatch.setattr(script(name).images, "save_image", lambda image, *args, **kwargs: saved.append(args[:3]))
    p = {"outpath_samples": "samples", "outpath_grids": "grids"}
    script("sd_upscale").Script().run(img2img(**p), "", 0, "None", 1.0)
    script("poor_mans_outpainting").Script().run(img2img(**p), 32, 4, 1, ["right"])
    script("outpainting_mk_2").Script().run(img2img(batch_size=2, **p), "", 64, 8, ["left"], 1.0, 0.05)
    script("loopback").Script().run(img2img(**p), 2, 0.5, "Linear", "None")
    matrix = StableDiffusionProcessingTxt2Img(prompt="a|b", seed=5, batch_size=2, width=64, height=64, **p)
    script("prompt_matrix").Script().run(matrix, False, False, "positive", "comma", 0)
    assert saved == [
        ("samples", "", 5),
        ("samples", "", 5),
        ("samples", "", 5),
        ("samples", "", 5),
        ("grids", "grid", 5),
        ("grids", "grid", 5),
        ("grids", "prompt_matrix"),
    ]


def test_custom_code_is_shown_only_if_allowed(script, monkeypatch):
    custom = script("custom_code").Script()
    assert custom.show(False) is False
    with pytest.raises(AssertionError, match="--allow-code"):
        custom.run(StableDiffusionProcessingTxt2Img(), "return 1", 2)
    monkeypatch.setattr(shared.cmd_opts, "allow_code", True)
    assert custom.show(False) is True
    with script_ui.unseen_page():
        code, indent_level = custom.ui(False)
    assert "process_images" in code.value
    assert indent_level.value == 2


def test_custom_code_runs(script, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "allow_code", True)
    custom, p = script("custom_code").Script(), StableDiffusionProcessingTxt2Img()
    shown = custom.run(p, "p.width = 8\nif True:\n  display(['picture'], 7, 'text')", 4)
    assert (p.width, shown.images, shown.seed, shown.info) == (8, ["picture"], 7, "text")
    returned = custom.run(p, "return Processed(p, [], 3, 'own')", 0)
    assert (returned.seed, returned.info) == (3, "own")
    assert custom.run(p, "pass", 2).images == []


def test_found_noise_is_reused_for_the_same_latent(script):
    alternative = script("img2imgalt")
    decoding = alternative.Decoding("a", "b", 1.0, 8, False)
    tenths = torch.zeros(1, 4, 8, 8, dtype=torch.int64)
    found = alternative.FoundNoise(decoding, tenths, torch.zeros(1))
    changed = tenths.clone()
    changed[0, 0, 0, 0] = 99
    assert found.fits(decoding, changed)
    changed[0, 0, 0, 1] = 1
    assert not found.fits(decoding, changed)
    assert not found.fits(decoding, tenths[:, :, :4])
    assert not found.fits(alternative.Decoding("a", "b", 2.0, 8, False), tenths)


@pytest.mark.parametrize("image", [None, torch.ones(2, 5, 4, 4)])
def test_noise_is_found_with_every_part_of_the_conditioning(script, image):
    """Negative prompts, then prompts, one for each image, from whatever the encoder returns."""
    alternative = script("img2imgalt")
    p = SimpleNamespace(batch_size=2, image_conditioning=image)
    decoding = alternative.Decoding("good", "bad", 1.0, 8, False)

    def encode(texts):
        values = torch.tensor([float(len(text)) for text in texts])
        return {"crossattn": values.view(-1, 1, 1).repeat(1, 3, 2), "vector": values.view(-1, 1)}

    condition = alternative.condition_of(p, decoding, SimpleNamespace(get_learned_conditioning=encode))
    assert condition["crossattn"][:, 0, 0].tolist() == [3, 3, 4, 4]
    assert condition["vector"].flatten().tolist() == [3, 3, 4, 4]
    assert ("c_concat" in condition) == (image is not None)
    if image is not None:
        assert condition["c_concat"][0].shape == (4, 5, 4, 4)


class TestAxes:
    @pytest.fixture
    def xyz(self, script):
        return script("xyz_grid")

    def apply(self, xyz, label, value, values=None, is_img2img=False, **fields):
        p = StableDiffusionProcessingTxt2Img(**{"prompt": "red apple", **fields})
        option = next(o for o in xyz.axis_options if o.label == label and o.is_img2img in (None, is_img2img))
        option.apply(p, value, values or [value])
        return p

    def test_labels_are_those_of_the_menu(self, xyz):
        labels = [option.label for option in xyz.axis_options]
        assert labels[:5] == ["Nothing", "Seed", "Var. seed", "Var. strength", "Steps"]
        assert len(labels) == 45
        assert labels[-1] == "Size"

    def test_fields_and_settings(self, xyz):
        assert self.apply(xyz, "Steps", 7).steps == 7
        assert self.apply(xyz, "Clip skip", 2).override_settings == {"CLIP_stop_at_last_layers": 2}
        assert self.apply(xyz, "SGM noise multiplier", "TRUE").override_settings == {"sgm_noise_multiplier": True}
        assert self.apply(xyz, "SGM noise multiplier", "no").override_settings == {"sgm_noise_multiplier": False}
        assert self.apply(xyz, "UniPC Order", 9, steps=5).override_settings == {"uni_pc_order": 4}
        assert self.apply(xyz, "Styles", "a,b", styles=["c"]).styles == ["c", "a", "b"]
        assert self.apply(xyz, "Nothing", 0).prompt == "red apple"

    def test_prompt_is_replaced_everywhere(self, xyz):
        p = self.apply(xyz, "Prompt S/R", "car", ["apple", "car"], negative_prompt="apple tree")
        assert (p.prompt, p.negative_prompt) == ("red car", "car tree")
        with pytest.raises(InvalidInput, match="did not find pear"):
            self.apply(xyz, "Prompt S/R", "car", ["pear", "car"])

    def test_prompt_is_reordered(self, xyz):
        p = self.apply(xyz, "Prompt order", ("c", "a", "b"), prompt="x a, b and c!")
        assert p.prompt == "x c, a and b!"
        with pytest.raises(InvalidInput, match="did not find d"):
            self.apply(xyz, "Prompt order", ("d", "a"), prompt="a")

    def test_size(self, xyz, caplog):
        p = self.apply(xyz, "Size", "64 x 128")
        assert (p.width, p.height) == (64, 128)
        assert self.apply(xyz, "Size", "large").width == 512
        assert "'large' is no size" in caplog.text

    @pytest.mark.parametrize(
        ("value", "restores", "model"),
        [("CodeFormer", True, "CodeFormer"), ("gfpgan", True, "GFPGAN"), ("Yes", True, None), ("no", False, None)],
    )
    def test_face_restore(self, xyz, value, restores, model):
        p = self.apply(xyz, "Face restore", value)
        assert p.restore_faces is restores
        assert getattr(p, "face_restoration_model", None) == model

    def test_vae(self, xyz, monkeypatch):
        monkeypatch.setattr(sd_vae, "vae_dict", {"Some.vae.pt": "/x"})
        names = {"auto": "Automatic", "NONE": "None", "some.VAE.pt": "Some.vae.pt"}
        for given, name in names.items():
            assert self.apply(xyz, "VAE", given).override_settings == {"sd_vae": name}

    def test_checkpoint(self, xyz):
        info = next(iter(sd_models.checkpoints_list.values()))
        p = self.apply(xyz, "Checkpoint name", info.title)
        assert p.override_settings == {"sd_model_checkpoint": info.name}
        xyz.confirm_checkpoints(p, [info.title])
        xyz.confirm_checkpoints_or_none(p, ["None", "", info.title])
        with pytest.raises(InvalidInput, match="Unknown checkpoint: no such"):
            xyz.confirm_checkpoints_or_none(p, ["no such"])

    def test_samplers_and_ranges_are_checked(self, xyz):
        xyz.confirm_samplers(None, ["euler a", "k_euler"])
        with pytest.raises(InvalidInput, match="Unknown sampler: no such"):
            xyz.confirm_samplers(None, ["no such"])
        xyz.confirm_range(0, 3, "Depth")(None, [0, 3])
        with pytest.raises(InvalidInput, match="Depth: value 4 is out of range 0 to 3"):
            xyz.confirm_range(0, 3, "Depth")(None, [4])

    @pytest.mark.parametrize(
        ("label", "text", "fields"),
        [
            ("Sampler", "euler a", {"sampler_name": "Euler a"}),
            ("Sampler", "k_heun", {"sampler_name": "Heun"}),
            ("Sampler", "DPM++ 2M Karras", {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}),
            ("Sampler", "euler sgmuniform", {"sampler_name": "Euler", "scheduler": "SGM Uniform"}),
            ("Hires sampler", "ddim Karras", {"hr_sampler_name": "DDIM", "hr_scheduler": "Karras"}),
            ("Schedule type", "karras", {"scheduler": "Karras"}),
            ("Hires upscaler", "latent (BICUBIC)", {"hr_upscaler": "Latent (bicubic)"}),
            ("RNG source", "cpu", {"override_settings": {"randn_source": "cpu"}}),
            ("SGM noise multiplier", "Yes", {"override_settings": {"sgm_noise_multiplier": True}}),
        ],
    )
    def test_names_that_are_taken_are_used(self, xyz, label, text, fields):
        option = next(option for option in xyz.axis_options if option.label == label)
        option.confirm(None, [text])
        p = self.apply(xyz, label, text)
        assert {name: getattr(p, name) for name in fields} == fields

    @pytest.mark.parametrize(
        ("label", "text"),
        [
            ("Sampler", "DPM++ 2M Nothing"),
            ("Hires sampler", "no such"),
            ("Schedule type", "Karas"),
            ("Hires upscaler", "no such"),
            ("VAE", "no such"),
            ("Styles", "no such"),
            ("Face restore", "no such"),
            ("RNG source", "dice"),
            ("FP8 mode", "half"),
            ("SGM noise multiplier", "perhaps"),
            ("Checkpoint name", "no such"),
            ("Size", "large"),
        ],
    )
    def test_names_that_there_are_not_are_refused(self, xyz, label, text):
        option = next(option for option in xyz.axis_options if option.label == label)
        with pytest.raises(InvalidInput, match=text.replace("+", r"\+")) as caught:
            option.confirm(None, [text])
        assert caught.value.field == "script_args"

    def test_every_choice_of_a_menu_is_taken(self, xyz, program):
        for option in xyz.axis_options + xyz.own_axis_options:
            if option.choices is not None and option.confirm is not None:
                option.confirm(None, option.choices())

    def test_every_menu_has_choices(self, xyz):
        menus = {option.label: option.choices() for option in xyz.axis_options if option.choices is not None}
        assert menus["Sampler"] == sd_samplers.visible_sampler_names()
        assert menus["Hires upscaler"][:1] == ["Latent"]
        assert all(isinstance(choices, list) for choices in menus.values())
        assert xyz.boolean_choice()() == ["True", "False"]

    @pytest.fixture
    def plot_script(self, xyz):
        script = xyz.Script()
        with script_ui.unseen_page():
            script.controls = script.ui(False)
        return script

    def index(self, script, label):
        return [option.label for option in script.current_axis_options].index(label)

    def test_axes_that_come_after_the_controls_are_there(self, xyz, plot_script, monkeypatch):
        late = xyz.AxisOption("Late", int, xyz.apply_field("steps"))
        only_img2img = xyz.AxisOptionImg2Img("Late, of the other tab", int, xyz.apply_field("steps"))
        monkeypatch.setattr(xyz, "axis_options", [*xyz.axis_options, only_img2img, late])
        own = len(xyz.own_axis_options)
        assert plot_script.current_axis_options[-own - 1 :] == [late, *xyz.own_axis_options]
        assert only_img2img not in plot_script.current_axis_options
        assert plot_script.axis_option(self.index(plot_script, "Late")) is late

    def test_axis_shows_text_or_menu(self, plot_script):
        def shown(label, text="", chosen=None, csv_mode=False):
            updates = plot_script.shown_values(self.index(plot_script, label), text, chosen, csv_mode)
            return [update["visible"] for update in updates], *[update.get("value") for update in updates[1:]]

        assert shown("Steps", "4") == ([False, True, False], None, None)  # what is typed meanwhile stays
        assert shown("RNG source", "CPU, bad") == ([True, False, True], "", ["CPU"])
        assert shown("RNG source", "", ["CPU", "NV"], csv_mode=True) == ([True, True, False], "CPU,NV", [])

    def test_all_values_are_filled_in(self, plot_script):
        place = self.index(plot_script, "RNG source")
        assert plot_script.all_values(place, False)[1] == ["GPU", "CPU", "NV"]
        assert plot_script.all_values(place, True)[0] == "GPU,CPU,NV"
        assert plot_script.all_values(self.index(plot_script, "Steps"), False) == (gr.update(), gr.update())

    def test_axes_are_swapped(self, plot_script):
        steps = self.index(plot_script, "Steps")
        assert plot_script.swapped(steps, "1", [], 0, "2", []) == ["Steps", "1", [], "Nothing", "2", []]

    def test_infotext_fills_the_axes(self, plot_script):
        targets = [target for _, target in plot_script.infotext_fields]
        assert targets[:2] == ["X Type", "X Values"]
        assert targets[2]({"X Values": "a, b"})["value"] == ["a", "b"]
        assert len(targets) == 9

    def test_plot_without_grid_has_batches_of_one(self, plot_script, jobs, monkeypatch):
        monkeypatch.setitem(shared.opts.data, "return_grid", False)
        monkeypatch.setattr(processing, "create_infotext", lambda *args: "")
        monkeypatch.setattr(sd_models, "reload_model_weights", lambda: None)
        monkeypatch.setattr(sd_vae, "reload_vae_weights", lambda: None)
        p = StableDiffusionProcessingTxt2Img(batch_size=4, width=8, height=8)
        axes = [self.index(plot_script, "Steps"), "1-2", [], None, "", [], 0, "", []]
        result = plot_script.run(p, *axes, False, True, False, False, False, False, False, 0, False)
        assert [job.batch_size for job in jobs] == [1, 1]
        assert jobs[0].seed == jobs[1].seed >= 0
        assert len(result.images) == 3
