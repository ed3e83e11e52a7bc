"""Jobs whose prompts name embeddings: one with the vectors of known words makes the image of these words."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from modules import checkpoints, sd_hijack, sd_models, shared
from modules.textual_inversion.textual_inversion import Embedding
from test.unit.checkpoint_files import write_checkpoint
from tools import tiny_checkpoints

LORA = "test-brings-words"


@pytest.fixture(scope="module")
def words(loaded_program):
    """Embeddings of the folder: `twowords` has the vectors of "blue car", `chunkful` 75 of one word."""
    folder = Path(shared.cmd_opts.embeddings_dir)
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"twowords": "blue car", "chunkful": " ".join(["apple"] * 75)}
    for name, text in texts.items():
        vectors_of(text).save(str(folder / f"{name}.pt"))
    database = sd_hijack.model_hijack.embedding_db
    database.load_textual_inversion_embeddings(force_reload=True)
    yield texts
    for name in texts:
        (folder / f"{name}.pt").unlink()
    database.load_textual_inversion_embeddings(force_reload=True)


def vectors_of(text):
    """An embedding of what a text is before the first layer of the loaded model."""
    return Embedding(shared.sd_model.cond_stage_model.encode_embedding_init_text(text, 75).detach().clone(), "x")


@pytest.mark.parametrize(
    "prompt",
    [
        "a {} apple",
        "{} AND red apple :0.5",
        "[{}:red apple:0.5]",
        "[red apple:{}:1]",
        "[{}|apple]",
        "a BREAK {} BREAK red",
        "a ({} apple:0.7), [{}]",
    ],
)
def test_vectors_take_the_place_of_words(txt2img, words, prompt):
    named = txt2img(prompt=prompt.format("TwoWords", "twowords"))
    assert named.pixels == txt2img(prompt=prompt.format("blue car", "blue car")).pixels
    assert "TI hashes" in named.fields


@pytest.mark.parametrize(
    "options", [{"CLIP_stop_at_last_layers": 2}, {"emphasis": "No norm"}, {"use_old_emphasis_implementation": True}]
)
@pytest.mark.parametrize("prompt", ["a ({} apple:0.7), [{}]", "red " * 76 + "{} apple"])
def test_they_do_so_under_every_setting(txt2img, words, prompt, options):
    named = txt2img(prompt=prompt.format("twowords", "twowords"), override_settings=options)
    assert named.pixels == txt2img(prompt=prompt.format("blue car", "blue car"), override_settings=options).pixels


@pytest.mark.parametrize("prompt", ["{}", "{} red", "red BREAK {}, blue", "({}:1.2)"])
def test_full_chunk_of_vectors(txt2img, words, prompt):
    named, spelled = txt2img(prompt=prompt.format("chunkful")), txt2img(prompt=prompt.format(words["chunkful"]))
    assert named.pixels == spelled.pixels


def test_full_chunk_of_vectors_begins_a_chunk_of_its_own(txt2img, words):
    named = txt2img(prompt="red chunkful blue")
    assert named.pixels == txt2img(prompt=f"red BREAK {words['chunkful']} BREAK blue").pixels


def test_each_image_of_a_batch_has_its_own_words(txt2img, words):
    matrix = {"script_name": "prompt matrix", "script_args": [False, False, "positive", "comma", 0], "batch_size": 3}
    named = txt2img(prompt="a twowords|red|twowords apple", **matrix)
    spelled = txt2img(prompt="a blue car|red|blue car apple", **matrix)
    assert named.pixels[1:] == spelled.pixels[1:]  # the first is the grid, which shows the prompts


def test_negative_prompt_and_style(txt2img, words):
    named = txt2img(prompt="red apple", negative_prompt="(twowords:1.1)")
    assert named.pixels == txt2img(prompt="red apple", negative_prompt="(blue car:1.1)").pixels


def test_replaced_file_is_heeded_after_a_refresh(client, txt2img, words):
    before = txt2img(prompt="a twowords")
    path = Path(shared.cmd_opts.embeddings_dir) / "twowords.pt"
    kept = path.read_bytes()
    try:
        vectors_of("red apple").save(str(path))
        client.post("/sdapi/v1/refresh-embeddings")
        after = txt2img(prompt="a twowords")
        assert after.pixels == txt2img(prompt="a red apple").pixels != before.pixels
        assert after.fields["TI hashes"] != before.fields["TI hashes"]
    finally:
        path.write_bytes(kept)
        client.post("/sdapi/v1/refresh-embeddings")


@pytest.fixture
def lora(client):
    """Tag of a network that changes nothing, and brings the words `broughtwords` along."""
    folder = Path(shared.cmd_opts.lora_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{LORA}.safetensors"
    save_file({"bundle_emb.broughtwords.clip_l": vectors_of("blue car").vec}, path)
    client.post("/sdapi/v1/refresh-loras")
    yield f"<lora:{LORA}:1>"
    path.unlink()
    client.post("/sdapi/v1/refresh-loras")


def test_words_that_a_lora_brings_along(txt2img, lora):
    unknown = txt2img(prompt="a broughtwords")
    known = txt2img(prompt=f"a broughtwords{lora}", negative_prompt="broughtwords apple")
    assert known.pixels == txt2img(prompt="a blue car", negative_prompt="blue car apple").pixels
    assert known.fields["TI hashes"] == f'"broughtwords: {LORA}, broughtwords: {LORA}"'
    again = txt2img(prompt="a broughtwords")
    assert again.pixels == unknown.pixels and "TI hashes" not in again.fields
    assert "broughtwords" not in sd_hijack.model_hijack.embedding_db.word_embeddings


def test_first_of_two_loras_with_one_word_counts(client, txt2img, lora, caplog):
    path = Path(shared.cmd_opts.lora_dir) / "test-brings-others.safetensors"
    save_file({"bundle_emb.broughtwords.clip_l": vectors_of("red apple").vec}, path)
    client.post("/sdapi/v1/refresh-loras")
    try:
        both = txt2img(prompt=f"a broughtwords{lora}<lora:test-brings-others:1>")
        assert both.pixels == txt2img(prompt="a blue car").pixels
        assert "test-brings-others is not used" in caplog.text
    finally:
        path.unlink()
        client.post("/sdapi/v1/refresh-loras")


def half_as_wide(weights):
    """Makes a text encoder give vectors of 64 numbers, and the U-Net take them."""
    for key, tensor in weights.items():
        if key.startswith("cond_stage_model."):
            for axis, size in enumerate(tensor.shape):
                tensor = tensor.narrow(axis, 0, size // 2) if size in (128, 512) else tensor
        elif key.endswith((".attn2.to_k.weight", ".attn2.to_v.weight")):
            tensor = tensor[:, :64]
        weights[key] = tensor.contiguous()


@pytest.mark.parametrize("kept_models", [1, 2])
def test_hires_checkpoint_of_another_width_reads_the_name_as_text(txt2img, words, lora, monkeypatch, kept_models):
    path = write_checkpoint(Path(checkpoints.model_path) / "narrow.safetensors", half_as_wide)
    sd_models.list_models()
    monkeypatch.setitem(shared.opts.data, "sd_checkpoints_limit", kept_models)
    hires = {"enable_hr": True, "denoising_strength": 0.6, "hr_checkpoint_name": "narrow"}
    try:
        as_text = txt2img(prompt="a blue car", hr_prompt="a twowords", **hires)
        assert txt2img(prompt="a twowords", **hires).pixels == as_text.pixels
        brought = txt2img(prompt=f"a broughtwords{lora}", **hires)
        assert brought.pixels == txt2img(prompt="a blue car", hr_prompt="a broughtwords", **hires).pixels
        assert txt2img(prompt="a twowords").pixels == txt2img(prompt="a blue car").pixels
    finally:
        path.unlink()
        monkeypatch.undo()
        sd_models.list_models()
        sd_models.reload_model_weights()


@pytest.fixture
def on_sdxl(txt2img, words, monkeypatch):
    """Runs a job on a tiny SDXL model, for which there are the files `pair` and `oldpair`."""
    checkpoint = Path(checkpoints.model_path) / "tiny-sdxl.safetensors"
    tiny_checkpoints.write("sdxl", checkpoint)
    sd_models.list_models()
    overrides = {"override_settings": {"sd_model_checkpoint": "tiny-sdxl"}}
    assert txt2img(**overrides).fields["Model"] == "tiny-sdxl"
    vectors = pair_of("blue car")
    folder = Path(shared.cmd_opts.embeddings_dir)
    files = [folder / "pair.safetensors", folder / "oldpair.safetensors"]
    save_file(vectors | {"clip_g_out": torch.zeros(1, 64)}, files[0])
    save_file({"text_encoders_0": vectors["clip_l"], "text_encoders_1": vectors["clip_g"]}, files[1])
    sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)
    yield lambda **fields: txt2img(**fields, **overrides)
    for path in (checkpoint, *files):
        path.unlink()
    sd_models.list_models()
    sd_models.reload_model_weights()


def pair_of(text):
    """What a text is before the first layer of each encoder of the loaded model."""
    encoders = shared.sd_model.cond_stage_model.encoders
    return {name: encoder.encode_embedding_init_text(text, 75).detach().clone() for name, encoder in encoders.items()}


def test_pair_of_matrices_for_sdxl(client, txt2img, on_sdxl, lora):
    words = on_sdxl(prompt="a (blue car:1.2) apple", negative_prompt="blue car")
    for name in ("pair", "oldpair"):
        named = on_sdxl(prompt=f"a ({name}:1.2) apple", negative_prompt=name)
        assert named.pixels == words.pixels
        assert named.fields["TI hashes"].count(f"{name}: ") == 4  # prompts times encoders
    listed = client.get("/sdapi/v1/embeddings").json()
    assert (listed["loaded"]["pair"]["shape"], listed["loaded"]["pair"]["vectors"]) == (96, 2)
    assert "twowords" in listed["skipped"]

    path = Path(shared.cmd_opts.lora_dir) / f"{LORA}.safetensors"
    save_file({f"bundle_emb.broughtwords.{key}": tensor for key, tensor in pair_of("blue car").items()}, path)
    client.post("/sdapi/v1/refresh-loras")
    brought = on_sdxl(prompt=f"a (broughtwords:1.2) apple{lora}", negative_prompt="broughtwords")
    assert brought.pixels == words.pixels
    assert txt2img(prompt="a twowords pair").pixels == txt2img(prompt="a blue car pair").pixels


def test_damaged_files_cost_nobody_else_anything(client, txt2img, words, caplog):
    folder = Path(shared.cmd_opts.embeddings_dir)
    damaged = {name: folder / name for name in ("cut.safetensors", "text.pt", "text.png", "lora.safetensors")}
    save_file({"a": torch.zeros(2, 128)}, damaged["cut.safetensors"])
    damaged["cut.safetensors"].write_bytes(damaged["cut.safetensors"].read_bytes()[:-50])
    for name in ("text.pt", "text.png"):
        damaged[name].write_text("text")
    save_file({f"lora_unet_{i}.alpha": torch.ones(1) for i in range(3)}, damaged["lora.safetensors"])
    try:
        client.post("/sdapi/v1/refresh-embeddings")
        assert txt2img(prompt="a twowords").pixels == txt2img(prompt="a blue car").pixels
        named = [record.message for record in caplog.records if record.name == "modules.errors"]
        assert all(any(name in message for message in named) for name in damaged)
    finally:
        for path in damaged.values():
            path.unlink()
        client.post("/sdapi/v1/refresh-embeddings")
