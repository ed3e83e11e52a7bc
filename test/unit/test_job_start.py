"""What is settled before a run."""

import pytest

from modules import checkpoints, processing, sd_vae, shared
from modules.errors import InvalidInput, NotFound
from modules.job import start


def job(**fields):
    return processing.StableDiffusionProcessingTxt2Img(**{"prompt": "apple", "width": 64, "height": 64} | fields)


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"prompt": None}, "prompt", "missing"),
        ({"prompt": []}, "prompt", "missing"),
        ({"width": 7}, "width", "7x64"),
        ({"firstphase_width": 64, "firstphase_height": 4}, "width", "64x4"),
    ],
)
def test_what_no_model_could_make_is_refused(sd_model, fields, field, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        start.check_prompt_and_size(job(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"width": 8200}, "width"),
        ({"height": 10**9}, "height"),
        ({"steps": 1001}, "steps"),
        ({"batch_size": 65}, "batch_size"),
        ({"batch_size": 64, "n_iter": 17}, "n_iter"),
        ({"prompt": ["a"] * 1025}, "prompt"),
        ({"denoising_strength": float("nan")}, "denoising_strength"),
        ({"cfg_scale": float("inf")}, "cfg_scale"),
    ],
)
def test_what_is_too_much_is_refused_whoever_asks(sd_model, fields, field):
    with pytest.raises(InvalidInput, match=field) as caught:
        start.resolve(job(**fields))
    assert caught.value.field == field


def test_a_format_that_cannot_be_written_is_refused_before_the_work(sd_model, settings):
    settings(samples_format="h5", samples_save=True)
    with pytest.raises(InvalidInput, match="'h5'"):
        start.resolve(job())
    settings(samples_save=False)
    start.resolve(job())


def test_an_empty_prompt_is_one(sd_model):
    start.check_prompt_and_size(job(prompt="", width=8, height=8))


@pytest.mark.parametrize("name", [None, "", "None", "none"])
def test_no_refiner(sd_model, name):
    p = job(refiner_checkpoint=name)
    start.find_refiner(p)
    assert p.refiner_checkpoint_info is None


def test_a_refiner_is_found_by_its_name(sd_model):
    info = next(iter(checkpoints.checkpoints_list.values()))
    p = job(refiner_checkpoint=info.name)
    start.find_refiner(p)
    assert p.refiner_checkpoint_info is info
    with pytest.raises(NotFound, match="nowhere"):
        start.find_refiner(job(refiner_checkpoint="nowhere"))


def test_the_settings_fill_what_was_left_open(sd_model, monkeypatch):
    for key, value in {"tiling": True, "face_restoration": True, "s_churn": 0.25}.items():
        monkeypatch.setitem(shared.opts.data, key, value)
    p = job(restore_faces=False)
    start.resolve(p)
    assert (p.tiling, p.restore_faces, p.s_churn) == (True, False, 0.25)
    assert job().tiling is None


@pytest.mark.parametrize(
    ("asked", "setting", "expected"),
    [(None, 0.0, float("inf")), (None, 2.0, 2.0), (0.0, 2.0, float("inf")), (1.5, 2.0, 1.5)],
)
def test_no_upper_end_is_infinity(program, monkeypatch, asked, setting, expected):
    monkeypatch.setitem(shared.opts.data, "s_tmax", setting)
    p = job(s_tmax=asked)
    start.fill_sampler_parameters(p)
    assert p.s_tmax == expected


def test_the_infotext_knows_the_model(sd_model):
    p = job()
    start.note_model(p)
    assert p.sd_model_name == sd_model.sd_checkpoint_info.name_for_extra and p.sd_model_hash == sd_model.sd_model_hash
    assert p.sd_vae_name == sd_vae.get_loaded_vae_name()
