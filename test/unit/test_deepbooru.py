import pytest
import torch
from PIL import Image
from torch import nn

from modules import devices, shared
from modules.deepbooru import DeepbooruSettings, DeepDanbooru, re_special
from modules.errors import ModelLoadError, NotFound

TAGS = ["1girl", "long_hair", "smile_(object)", "rating:safe", "sky"]
IMAGE = Image.new("RGB", (60, 40), (51, 102, 204))


class Tagger(nn.Module):
    """Gives fixed probabilities; the last is the mean of the blue channel."""

    def forward(self, x):
        fixed = torch.tensor([[0.6, 0.9, 0.7, 0.99]])
        return torch.cat([fixed, x[..., 2].mean().reshape(1, 1)], dim=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "models_path", str(tmp_path))
    folder = tmp_path / "torch_deepdanbooru"
    folder.mkdir()
    return folder


@pytest.fixture
def tagger(folder):
    torch.jit.script(Tagger()).save(folder / "model.pt")
    (folder / "tags.txt").write_text("\n".join(TAGS), encoding="utf8")
    return DeepDanbooru()


def test_missing_model_is_named_with_its_folder(folder):
    with pytest.raises(NotFound, match="DeepDanbooru model is not installed"):
        DeepDanbooru().tag(IMAGE)


def test_damaged_file_is_refused(folder):
    (folder / "model.pt").write_bytes(b"nothing")
    (folder / "tags.txt").write_text("a", encoding="utf8")
    with pytest.raises(ModelLoadError, match=r"model\.pt cannot be loaded"):
        DeepDanbooru().load()


def test_tags_are_chosen_sorted_and_escaped(tagger):
    assert tagger.tag(IMAGE) == r"1girl, long hair, sky, smile \(object\)"
    model = tagger.model
    tagger.load()
    assert tagger.model is model


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"deepbooru_sort_alpha": False}, r"long hair, sky, smile \(object\), 1girl"),
        ({"deepbooru_use_spaces": False, "deepbooru_escape": False}, "1girl, long_hair, sky, smile_(object)"),
        (
            {"deepbooru_filter_tags": "long hair, sky", "interrogate_deepbooru_score_threshold": 0.65},
            r"smile \(object\)",
        ),
        (
            {"interrogate_return_ranks": True, "deepbooru_filter_tags": "sky,1girl,long_hair"},
            r"(smile \(object\):0.700)",
        ),
        ({"interrogate_keep_models_in_memory": True, "interrogate_deepbooru_score_threshold": 0.85}, "long hair"),
    ],
)
def test_settings_shape_the_text(tagger, settings, expected):
    with shared.opts.overlay(settings):
        assert tagger.tag(IMAGE) == expected


def test_choice_of_tags():
    probabilities = dict(zip(TAGS, (0.6, 0.9, 0.7, 0.99, 0.5), strict=True))
    with shared.opts.overlay({"interrogate_deepbooru_score_threshold": 0.6, "deepbooru_filter_tags": "sky, long hair"}):
        settings = DeepbooruSettings.from_opts(shared.opts)
    assert settings.chosen(probabilities) == ["1girl", "smile_(object)"]
    assert settings.chosen({}) == []
    assert settings.written("long_hair", 0.25) == "(long hair:0.250)"


@pytest.mark.parametrize(("keep", "moves"), [(False, ["meta", "cpu"]), (True, ["meta"])])
def test_network_leaves_the_device_unless_it_is_to_be_kept(tagger, monkeypatch, keep, moves):
    places = []

    class Network:
        tags = TAGS

        def to(self, device):
            places.append(torch.device(device).type)

    tagger.model = Network()
    monkeypatch.setattr(devices, "device_interrogate", torch.device("meta"))
    with shared.opts.overlay({"interrogate_keep_models_in_memory": keep}):
        tagger.start()
        tagger.stop()
    assert places == moves


def test_ranks_can_be_left_out(tagger):
    tagger.start()
    with shared.opts.overlay({"interrogate_return_ranks": True}):
        assert ":" not in tagger.tag_multi(IMAGE, force_disable_ranks=True)
    tagger.stop()
    assert re_special.sub(r"\\\1", "a(b)") == r"a\(b\)"
