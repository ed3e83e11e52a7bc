"""Files of VAEs and text encoders beside checkpoints: which there are, which a checkpoint gets, and jobs with them."""

import json

import pytest
from safetensors.torch import save_file

from modules import (
    checkpoints,
    infotext_utils,
    model_load,
    runtime_utils,
    scripts,
    sd_models,
    sd_modules,
    sd_vae,
    shared,
)
from modules.errors import ModelLoadError, NotFound
from modules.model_families import SD1
from test.unit.checkpoint_files import embedded_weights
from test.unit.tiny_networks import tiny_clip_network

JOB = {"prompt": "red apple", "steps": 1, "width": 64, "height": 64, "seed": 7, "sampler_name": "Euler"}


def write(folder, name, *modules):
    """Writes a file with these modules of the embedded checkpoint: with their prefixes if there are several."""
    stored, cut = embedded_weights(), len(modules) == 1
    prefixes = [SD1.prefixes[module] for module in modules]
    found = {key: tensor for key, tensor in stored.items() if key.startswith(tuple(prefixes))}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k.removeprefix(prefixes[0]) if cut else k: t.contiguous() for k, t in found.items()}, folder / name)
    return str(folder / name)


@pytest.fixture(scope="module")
def folders(tmp_path_factory, loaded_program):
    """A denoiser among the checkpoints and its two modules in folders of their own, all listed."""
    root = tmp_path_factory.mktemp("models")
    write(root / "ckpt", "bare.safetensors", "denoiser")
    write(root / "vae", "clear.safetensors", "vae")
    write(root / "text", "words.safetensors", "clip_l")
    with pytest.MonkeyPatch.context() as patch:
        for flag, folder in (("ckpt_dir", "ckpt"), ("vae_dir", "vae"), ("text_encoder_dir", "text")):
            patch.setattr(shared.cmd_opts, flag, str(root / folder))
        rescan()
        yield root
    rescan()
    sd_models.reload_model_weights()


def rescan():
    sd_models.list_models()
    sd_vae.refresh_vae_list()
    sd_modules.refresh()


@pytest.fixture(scope="module")
def whole(folders, client):
    """What the embedded checkpoint draws."""
    return answer(client, "/sdapi/v1/txt2img", **JOB)


def answer(client, path, **fields):
    response = client.post(path, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


def test_files_of_both_folders_are_listed_and_found_by_name_and_path(folders, client):
    assert list(sd_modules.module_dict) == ["clear.safetensors", "words.safetensors"]
    listed = client.get("/sdapi/v1/sd-modules").json()
    assert listed[1] == {"model_name": "words.safetensors", "filename": str(folders / "text" / "words.safetensors")}
    for name in ("words.safetensors", "words", listed[1]["filename"]):
        assert sd_modules.find(name) == "words.safetensors"
    assert sd_modules.names_of(["None", listed[1]["filename"], "words"]) == ["words.safetensors"]
    with pytest.raises(NotFound, match=r"'wrods'; .* the nearest is 'words.safetensors'"):
        sd_modules.names_of(["wrods"])


def test_split_files_draw_the_picture_of_the_whole_and_its_infotext_replays_it(folders, client, whole):
    paths = [row["filename"] for row in client.get("/sdapi/v1/sd-modules").json()]
    chosen = {"sd_model_checkpoint": "bare", "forge_additional_modules": paths}
    split = answer(client, "/sdapi/v1/txt2img", **JOB, override_settings=chosen)
    text = json.loads(split["info"])["infotexts"][0]
    assert "Model: bare, Module 1: clear, Module 2: words" in text
    assert pixels(split) == pixels(whole)
    assert "Module" not in json.loads(whole["info"])["infotexts"][0]

    replayed = answer(client, "/sdapi/v1/txt2img", infotext=text, override_settings={"sd_model_checkpoint": "bare"})
    assert json.loads(replayed["info"])["infotexts"][0] == text
    assert pixels(replayed) == pixels(whole)


def pixels(answered):
    from modules.api.image_codec import decode_base64_to_image

    return decode_base64_to_image(answered["images"][0]).tobytes()


def test_a_plot_varies_the_files(folders, client, whole):
    script = next(s for s in scripts.scripts_txt2img.selectable_scripts if s.title() == "X/Y/Z plot")
    number = [option.label for option in script.current_axis_options].index("VAE and text encoders")
    args = [number, "clear + words,Built in", [], *[0, "", []] * 2, False, True, False, *[False] * 4, 0, True]
    asked = {**JOB, "script_name": "x/y/z plot", "script_args": args}
    plotted = answer(client, "/sdapi/v1/txt2img", **asked, override_settings={"sd_vae": "None"})
    texts = json.loads(plotted["info"])["infotexts"]
    assert ["Module 2: words" in text for text in texts[1:]] == [True, False]
    assert {pixels({"images": [image]}) for image in plotted["images"][1:]} == {pixels(whole)}
    args[1] = "wrods"
    refused = client.post("/sdapi/v1/txt2img", json=asked)
    assert refused.status_code == 422 and "'wrods'" in refused.text and refused.json()["field"] == "script_args"


def test_denoiser_alone_says_what_to_choose(folders, client):
    asked = {**JOB, "override_settings": {"sd_model_checkpoint": "bare"}}
    response = client.post("/sdapi/v1/txt2img", json=asked)
    assert response.status_code == 422
    assert "holds the denoiser only: choose a VAE and a text encoder in the setting" in response.text
    asked["override_settings"]["forge_additional_modules"] = ["clear", "gone"]
    response = client.post("/sdapi/v1/txt2img", json=asked)
    assert (response.status_code, response.json()["detail"].count("'gone'")) == (404, 1)


def test_infotext_with_files_that_are_not_here_names_them(folders):
    said = {"Module 1": "ae", "Module 2": "words"}
    problems = []
    found = infotext_utils.usable_override_settings(said, problems)
    assert found == [("Module 1", "forge_additional_modules", ["words.safetensors"])]
    assert len(problems) == 1 and "'ae'" in problems[0]
    pairs = infotext_utils.pairs_saying("Module 1", ["clear.safetensors", "words.safetensors"])
    assert pairs == ["Module 1: clear.safetensors", "Module 2: words.safetensors"]
    read = infotext_utils.create_override_settings_dict(pairs)
    assert read == {"forge_additional_modules": ["clear.safetensors", "words.safetensors"]}


def test_files_of_the_checkpoints_name_are_taken_where_it_lacks_them(folders, tmp_path, monkeypatch, client, whole):
    write(tmp_path, "own.safetensors", "denoiser")
    beside = [write(tmp_path, f"own.{name}.safetensors", name) for name in ("vae", "clip_l")]
    monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(tmp_path))
    rescan()
    try:
        titles = [info.name for info in checkpoints.checkpoints_list.values()]
        assert "own.safetensors" in titles and "own.clip_l.safetensors" not in titles
        assert set(sd_modules.beside(str(tmp_path / "own.safetensors"))) == set(beside)
        split = answer(client, "/sdapi/v1/txt2img", **JOB, override_settings={"sd_model_checkpoint": "own"})
        assert pixels(split) == pixels(whole)
        assert shared.sd_model.modules_used == ()
    finally:
        monkeypatch.undo()
        monkeypatch.setattr(shared.cmd_opts, "ckpt_dir", str(folders / "ckpt"))
        rescan()


def test_the_vae_of_the_settings_is_there_for_a_checkpoint_without_one(folders, settings):
    settings(sd_vae="clear.safetensors", forge_additional_modules=["words.safetensors"])
    files = sd_modules.files_of(str(folders / "ckpt" / "bare.safetensors"))
    assert files.chosen == (str(folders / "text" / "words.safetensors"),)
    assert files.beside == (str(folders / "vae" / "clear.safetensors"),)
    made = model_load.prepare(str(folders / "ckpt" / "bare.safetensors"), {}, None, None, files.chosen, files.beside)
    assert made.vae.filename == files.beside[0]


def test_setting_names_files_that_are_gone(folders, settings, caplog):
    settings(forge_additional_modules=["gone.safetensors", "words.safetensors"])
    assert sd_modules.chosen() == (str(folders / "text" / "words.safetensors"),)
    assert "named gone.safetensors" in caplog.text
    assert runtime_utils.checked_value("forge_additional_modules", ["words"]) == ["words.safetensors"]


def test_a_file_that_is_no_module_is_named(folders, tmp_path):
    with pytest.raises(ModelLoadError, match="holds no VAE and no text encoder"):
        model_load.read_module(str(folders / "ckpt" / "bare.safetensors"))


def test_modules_may_be_chosen_before_the_checkpoint_they_are_for(folders, settings, tmp_path, caplog):
    before = shared.sd_model
    narrow = tiny_clip_network(width=64).state_dict()
    path = tmp_path / "narrow.safetensors"
    save_file({key.removeprefix("transformer."): tensor for key, tensor in narrow.items()}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sd_modules.module_dict, path.name, str(path))
        settings(forge_additional_modules=[path.name])
        sd_models.reload_with_modules()
    assert shared.sd_model is before
    assert "reads text of 128 channels, its text encoder gives 64" in caplog.text
