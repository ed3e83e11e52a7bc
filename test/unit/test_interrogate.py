import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from modules import devices, interrogate, shared, shared_items, torchvision_ops
from modules.errors import NotFound
from modules.interrogate import Category, InterrogateModels
from modules.model_families import SD1
from modules.text_encoders.clip import tokenizer_dir

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "dog", "on", "the", "moon", "red", "[DEC]"]
IMAGE = Image.linear_gradient("L").resize((40, 30)).convert("RGB")


def save_blip(folder: Path) -> None:
    """A captioning model with a vocabulary of a dozen words."""
    torchvision_ops.declare_missing()
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {
        "vocab_size": len(WORDS),
        "encoder_hidden_size": 16,
        "max_position_embeddings": 64,
        "bos_token_id": 12,
        "sep_token_id": 3,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    vision = small | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=8, image_text_hidden_size=8)
    BlipForConditionalGeneration(config).save_pretrained(folder)


def save_clip(folder: Path) -> None:
    """A tiny CLIP with the tokenizer of the real ones."""
    torchvision_ops.declare_missing()
    from transformers import CLIPConfig, CLIPModel

    shutil.copytree(tokenizer_dir(SD1.text_encoders[0]), folder)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=small | {"eos_token_id": 49407},
        vision_config=small | {"image_size": 32, "patch_size": 16},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty models folder and a folder with word lists."""
    monkeypatch.setattr(shared, "models_path", str(tmp_path / "models"))
    monkeypatch.setattr(shared.cmd_opts, "clip_models_path", None)
    lists = tmp_path / "interrogate"
    lists.mkdir()
    (lists / "artists.txt").write_text("by Ana\nby Ben\nby Cleo", encoding="utf8")
    (lists / "flavors.top2.txt").write_text("oil\npastel\npencil", encoding="utf8")
    return tmp_path


@pytest.fixture
def interrogator(folders):
    return InterrogateModels(str(folders / "interrogate"))


def test_categories_come_from_files(interrogator, monkeypatch):
    artists, flavors = interrogator.categories()
    assert artists == Category("artists", 1, ["by Ana", "by Ben", "by Cleo"])
    assert (flavors.name, flavors.topn) == ("flavors.top2", 2)
    with shared.opts.overlay({"interrogate_clip_skip_categories": ["artists"], "interrogate_clip_dict_limit": 1}):
        assert interrogator.categories() == [Category("flavors.top2", 2, ["oil"])]
    with shared.opts.overlay({"interrogate_clip_dict_limit": 0}):
        assert len(interrogator.categories()[0].items) == 3


def test_settings_list_the_categories(interrogator, monkeypatch):
    monkeypatch.setattr(shared, "interrogator", None)
    assert shared_items.items("interrogate_categories") == []
    monkeypatch.setattr(shared, "interrogator", interrogator)
    assert shared_items.items("interrogate_categories") == ["artists", "flavors.top2"]


def test_missing_models_are_named_with_their_folder(interrogator, folders):
    with pytest.raises(NotFound, match=r"not installed: put a BLIP captioning model.*BLIP"):
        interrogator.interrogate(IMAGE)
    save_blip(folders / "models" / "BLIP")
    with pytest.raises(NotFound, match=r"not installed: put a CLIP ViT-L/14 model.*CLIP-interrogator"):
        interrogator.interrogate(IMAGE)


def test_pixels_are_square_and_normalised():
    pixels = interrogate.pixels_of(IMAGE, 32, devices.cpu, torch.float32)
    assert pixels.shape == (1, 3, 32, 32)
    white = interrogate.pixels_of(Image.new("RGB", (4, 4), "white"), 8, devices.cpu, torch.float64)
    assert white.dtype == torch.float64
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.9303, 2.0749, 2.1459], abs=1e-4)


@pytest.fixture
def installed(interrogator, folders):
    save_blip(folders / "models" / "BLIP")
    save_clip(folders / "models" / "CLIP-interrogator")
    return interrogator


def test_description_is_caption_and_best_words(installed):
    with shared.opts.overlay({"interrogate_clip_min_length": 1, "interrogate_clip_max_length": 6}):
        caption, *words = installed.interrogate(IMAGE).split(", ")
    assert set(caption.split()) <= set(WORDS)
    assert len(words) == 3
    assert words[0] in ("by Ana", "by Ben", "by Cleo")
    assert {words[1], words[2]} < {"oil", "pastel", "pencil"}


def test_ranks_are_shown_if_wanted(installed):
    with shared.opts.overlay(
        {
            "interrogate_return_ranks": True,
            "interrogate_clip_max_length": 4,
            "interrogate_clip_min_length": 1,
            "interrogate_keep_models_in_memory": True,
        }
    ):
        words = installed.interrogate(IMAGE).split(", ")[1:]
    assert all(word.startswith("(") and word.endswith(")") for word in words)
    assert 1 / 3 < float(words[0].rpartition(":")[2][:-1]) <= 1


def test_ranks_are_shares_of_a_hundred(installed):
    installed.load()
    with torch.inference_mode():
        features = installed.encode_image(IMAGE)
        ranked = installed.rank(features, ["a", "b", "c"], top_count=10)
    assert sum(share for _, share in ranked) == pytest.approx(100, abs=1e-3)
    assert [share for _, share in ranked] == sorted((share for _, share in ranked), reverse=True)


def test_texts_are_unit_vectors_however_many_are_encoded_at_once(installed, monkeypatch):
    installed.load()
    texts = ["by Ana", "pastel", "a word " * 100, "oil"]
    with torch.inference_mode():
        together = installed.encode_texts(texts)
        monkeypatch.setattr(interrogate, "TEXTS_AT_ONCE", 3)
        parts = installed.encode_texts(texts)
        image = installed.encode_image(IMAGE)
    assert together.shape == (4, 8) and image.shape == (1, 8)
    assert torch.allclose(together, parts, atol=1e-6)
    assert torch.cat([together, image]).norm(dim=-1).tolist() == pytest.approx([1.0] * 5, abs=1e-5)


def test_caption_alone_follows_the_settings_of_length(installed):
    installed.load()
    lengths = {}
    for longest in (3, 8):
        settings = {"interrogate_clip_min_length": 1, "interrogate_clip_max_length": longest}
        with shared.opts.overlay(settings | {"interrogate_clip_num_beams": 1}):
            lengths[longest] = len(installed.generate_caption(IMAGE).split())
    assert lengths[3] < lengths[8] <= 8


def test_models_take_the_type_of_their_device(installed, monkeypatch):
    monkeypatch.setattr(devices, "dtype", torch.bfloat16)
    monkeypatch.setattr(shared.cmd_opts, "no_half", False)
    installed.load()
    assert installed.dtype == torch.float32, "the CPU computes in float32"
    monkeypatch.setattr(installed, "running_on_cpu", False)
    installed.load()
    assert {installed.dtype, installed.blip_model.dtype, installed.clip_model.dtype} == {torch.bfloat16}
    monkeypatch.setattr(shared.cmd_opts, "no_half", True)
    installed.load()
    assert {installed.dtype, installed.blip_model.dtype, installed.clip_model.dtype} == {torch.float32}


class Moved:
    """Says where it was moved last."""

    place = None

    def to(self, device):
        self.place = device
        return self


@pytest.mark.parametrize(("keep", "place"), [(False, devices.cpu), (True, None)])
def test_models_leave_the_device_unless_they_are_to_be_kept(interrogator, keep, place):
    interrogator.unload()
    assert interrogator.blip_model is None, "nothing was loaded"
    interrogator.blip_model, interrogator.clip_model = Moved(), Moved()
    with shared.opts.overlay({"interrogate_keep_models_in_memory": keep}):
        interrogator.unload()
    assert (interrogator.blip_model.place, interrogator.clip_model.place) == (place, place)


def test_loaded_models_are_kept(installed):
    installed.load()
    blip, clip = installed.blip_model, installed.clip_model
    installed.load()
    assert (installed.blip_model, installed.clip_model) == (blip, clip)


def test_clip_folder_of_the_command_line(installed, folders, monkeypatch):
    (folders / "models" / "CLIP-interrogator").rename(folders / "elsewhere")
    monkeypatch.setattr(shared.cmd_opts, "clip_models_path", str(folders / "elsewhere"))
    assert installed.load_clip_model().config.projection_dim == 8
