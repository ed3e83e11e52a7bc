import base64
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image, PngImagePlugin

from modules.errors import ModelLoadError
from modules.textual_inversion.embedding_files import read_embedding_file, vectors_from_data
from modules.textual_inversion.image_embedding import embedding_to_b64, insert_image_data_embed


def vectors(count=2, width=4, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "data",
    [
        {"string_to_token": {"*": 265}, "string_to_param": {"*": vectors()}, "name": "x", "step": 7},
        {"string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors())})},
        {"<word>": vectors()},
        {"emb_params": vectors()},
        {"clip_l": vectors()},
        {"emp_params": vectors(), "emp_params_out": vectors(1)},
        {"clip_l": vectors(), "clip_l_out": vectors(1)},
        {"string_to_param.*": vectors()},
    ],
)
def test_one_matrix(data):
    assert torch.equal(vectors_from_data(data, "f.pt"), vectors())


@pytest.mark.parametrize("names", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")])
def test_matrices_of_two_encoders(names):
    pair = {"clip_l": vectors(2, 4), "clip_g": vectors(2, 6)}
    data = dict(zip(names, pair.values(), strict=True))
    for more in ({}, {"clip_g_out": vectors(1)}, {"t5": vectors(3, 8)}):
        read = vectors_from_data({**data, **more}, "f.safetensors")
        assert read.keys() == pair.keys()
        assert all(torch.equal(read[key], pair[key]) for key in pair)


def test_single_vector_is_one_row():
    assert torch.equal(vectors_from_data({"<word>": vectors(1)[0]}, "f.bin"), vectors(1))


def test_vectors_are_float32_and_no_part_of_what_they_were_read_from():
    half = vectors().half()
    assert vectors_from_data({"a": half}, "f").dtype == torch.float32
    plain = vectors()
    read = vectors_from_data({"a": plain}, "f")
    plain.zero_()
    assert torch.equal(read, vectors())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "no embedding but a list"),
        (vectors(), "no embedding but a Tensor"),
        ({"a": vectors(), "b": vectors()}, "holds 2 terms"),
        ({"string_to_param": {"*": vectors(), "+": vectors()}}, "holds 2 terms"),
        ({"string_to_param": {}}, "holds 0 terms"),
        ({"string_to_param": [vectors()]}, "neither"),
        ({"a": "text"}, "neither"),
        ({"a": vectors(), "b": "text"}, "neither"),
        ({"a": torch.zeros(2, 3, 4)}, "damaged.*2, 3, 4"),
        ({"a": torch.zeros(0, 4)}, "damaged"),
        ({"clip_l": vectors(1), "clip_g": vectors(2)}, "different numbers"),
        ({"clip_l": "text", "clip_g": vectors(2)}, "neither"),
        ({"clip_l_out": vectors()}, "output of the text encoder only"),
    ],
)
def test_contents_that_are_no_embedding(data, message):
    with pytest.raises(ModelLoadError, match=f"f.pt .*{message}"):
        vectors_from_data(data, "f.pt")


def noise_image(size=(64, 64)):
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def save_with_text(path, text):
    info = PngImagePlugin.PngInfo()
    info.add_text("sd-ti-embedding", text)
    noise_image().save(path, pnginfo=info)


def trained(**more):
    return {"string_to_param": {"*": vectors()}, **more}


@pytest.mark.parametrize(("stored", "name"), [({"name": "inner"}, "inner"), ({}, "a"), ({"name": [1]}, "a")])
def test_image_tells_the_name(tmp_path, stored, name):
    save_with_text(tmp_path / "a.png", embedding_to_b64(trained(**stored)).decode())
    data, found = read_embedding_file(str(tmp_path / "a.png"))
    assert found == name
    assert torch.equal(vectors_from_data(data, "a.png"), vectors())


@pytest.mark.parametrize(
    ("name", "options"), [("a.png", {}), ("A.PNG", {}), ("a.webp", {"lossless": True}), ("a.avif", {"quality": 100})]
)
def test_pixels_of_every_format_without_loss(tmp_path, name, options):
    image = insert_image_data_embed(noise_image(), trained(name="inner"))
    try:
        image.save(tmp_path / name, subsampling="4:4:4", **options)
    except OSError:
        pytest.skip("Pillow writes no such files here")
    with Image.open(tmp_path / name) as written:
        if np.array(written).tobytes() != np.array(image).tobytes():
            assert read_embedding_file(str(tmp_path / name)) is None
            return
    data, found = read_embedding_file(str(tmp_path / name))
    assert found == "inner"
    assert torch.equal(vectors_from_data(data, name), vectors())


def test_plain_images_previews_and_other_files_hold_none(tmp_path):
    for name in ("a.png", "a.webp", "a.preview.png"):
        noise_image().save(tmp_path / name)
    (tmp_path / "a.txt").write_text("text")
    for path in tmp_path.iterdir():
        assert read_embedding_file(str(path)) is None


def test_image_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    noise_image().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ModelLoadError, match=r"a\.png"):
        read_embedding_file(str(tmp_path / "a.png"))


class Evil:
    """A pickle that makes a file when it is read."""

    def __reduce__(self):
        return open, ("made-by-a-pickle", "w")


def damaged_files(folder):
    """Writes files that are broken in a way each."""
    safetensors.torch.save_file({"a": vectors()}, folder / "cut.safetensors")
    torch.save({"a": vectors()}, folder / "cut.pt")
    noise_image().save(folder / "cut.png")
    for path in list(folder.iterdir()):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    torch.save({"a": vectors()}, folder / "pickle.safetensors")
    safetensors.torch.save_file({"a": vectors()}, folder / "safetensors.pt")
    (folder / "text.bin").write_text("text")
    (folder / "text.png").write_text("text")
    (folder / "evil.pt").write_bytes(pickle.dumps({"string_to_param": Evil()}, protocol=2))
    torch.save({"string_to_param": Evil()}, folder / "evil.bin")
    nested = "[" * 100_000
    for name, text in (("number", "5 5"), ("rows", '{"TORCHTENSOR": [[1], [1, 2]]}'), ("nested", nested)):
        save_with_text(folder / f"{name}.png", base64.b64encode(text.encode()).decode())
    save_with_text(folder / "text64.png", "no base64!")


def test_damaged_files_are_named_and_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damaged_files(tmp_path)
    for path in tmp_path.iterdir():
        with pytest.raises(ModelLoadError, match=path.name):
            read_embedding_file(str(path))
    assert not (tmp_path / "made-by-a-pickle").exists()
