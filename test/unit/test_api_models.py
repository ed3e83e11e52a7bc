"""Request and response models: what they take, and those that are made from settings and flags."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from modules import shared
from modules.api import models
from modules.options import OptionInfo


@dataclass
class Asked:
    """A request class with fields of all kinds."""

    text: str = ""
    count: int = 1
    share: float = 0.5
    flag: bool = False
    names: list[str] = None
    values: dict[str, Any] = None
    image: object = None
    sd_model: object = None
    hidden: int = field(default=0, init=False)


@pytest.fixture
def model():
    own = [{"key": "own", "type": int | None, "default": 3}, {"key": "share", "type": float | None, "default": None}]
    return models.PydanticModelGenerator("Asked", Asked, own).generate_model()


def test_fields_are_those_of_the_class_and_the_own_ones(model):
    assert set(model.model_fields) == {"text", "count", "share", "flag", "names", "values", "image", "own"}
    assert model.__name__ == "Asked"


def test_defaults_are_those_of_the_class_unless_replaced(model):
    request = model()
    assert (request.text, request.count, request.flag, request.own) == ("", 1, False, 3)
    assert request.share is request.names is request.image is None


@pytest.mark.parametrize("name", ["text", "count", "flag", "names", "values", "image", "own"])
def test_every_field_takes_null(model, name):
    assert getattr(model(**{name: None}), name) is None


def test_fields_take_what_clients_have_always_sent(model):
    request = model(text=5, count=2.9, names=[1, "b"], values=[], image="data:", share="0.25")
    assert (request.text, request.count, request.names, request.values) == ("5", 2, ["1", "b"], {})
    assert (request.image, request.share) == ("data:", 0.25)


def test_unknown_fields_are_ignored(model):
    assert not hasattr(model(stranger=1), "stranger")


@pytest.mark.parametrize("sent", [{"count": "many"}, {"flag": "perhaps"}, {"names": "a"}, {"values": "a"}])
def test_other_types_are_refused(model, sent):
    with pytest.raises(ValidationError):
        model(**sent)


def test_fields_may_be_set_to_anything_later(model):
    request = model()
    request.count = 2.5
    assert request.count == 2.5


@pytest.mark.parametrize(
    "name",
    ["sd_model", "outpath_samples", "outpath_grids", "prompt_for_display", "seed_enable_extras"],
)
def test_what_the_program_decides_is_no_field_of_a_request(name):
    assert name not in models.StableDiffusionTxt2ImgProcessingAPI.model_fields
    assert name not in models.StableDiffusionImg2ImgProcessingAPI.model_fields


@pytest.mark.parametrize("name", ["send_images", "save_images", "alwayson_scripts", "script_args", "infotext"])
def test_both_requests_have_the_fields_of_the_api(name):
    assert name in models.StableDiffusionTxt2ImgProcessingAPI.model_fields
    assert name in models.StableDiffusionImg2ImgProcessingAPI.model_fields


def test_fields_are_in_the_order_in_which_answers_repeat_them():
    names = list(models.StableDiffusionTxt2ImgProcessingAPI.model_fields)
    assert names[names.index("firstpass_image") :][:3] == ["firstpass_image", "comments", "enable_hr"]


def test_requests_do_not_share_their_defaults():
    first = models.StableDiffusionTxt2ImgProcessingAPI()
    first.alwayson_scripts["mine"] = {}
    first.script_args.append(1)
    second = models.StableDiffusionTxt2ImgProcessingAPI()
    assert second.alwayson_scripts == {}
    assert second.script_args == []


@pytest.mark.parametrize(
    "sent",
    [
        {"resize_mode": 2},
        {"gfpgan_visibility": 1.1},
        {"codeformer_visibility": -0.1},
        {"codeformer_weight": float("nan")},
        {"upscaling_resize": 0},
        {"upscaling_resize_w": 0},
        {"extras_upscaler_2_visibility": float("inf")},
    ],
)
def test_extras_have_ranges(sent):
    with pytest.raises(ValidationError) as caught:
        models.ExtrasSingleImageRequest(**sent)
    assert caught.value.errors()[0]["loc"] == tuple(sent)


def test_extras_batch_needs_its_images():
    with pytest.raises(ValidationError):
        models.ExtrasBatchImagesRequest()
    request = models.ExtrasBatchImagesRequest(imageList=[{"data": "x", "name": 5}])
    assert request.imageList[0].name == "5"


def test_answer_of_the_settings_has_a_field_for_each(monkeypatch):
    added = {
        "my_flag": OptionInfo(True, "Flag"),
        "my_count": OptionInfo(3, "Count"),
        "my_text": OptionInfo("a", "Text"),
        "my_empty": OptionInfo("", "Empty"),
        "my_list": OptionInfo(["a"], "List"),
        "my_tuple": OptionInfo((1, 2), "Tuple"),
        "_mine": OptionInfo(1, "Underscore"),
    }
    for key, info in added.items():
        monkeypatch.setitem(shared.opts.data_labels, key, info)
    model = models.options_model()
    values = model.model_validate({}).model_dump(by_alias=True)
    assert {key: values[key] for key in added} == {key: info.default for key, info in added.items()}
    assert set(values) == set(shared.opts.data_labels)


@pytest.mark.parametrize(
    ("default", "value", "is_taken"),
    [(True, "x", False), (3, 2.5, True), ("a", None, True), ("a", 5, False), ("", 5, True), (None, [1], True)],
)
def test_settings_are_answered_as_their_default_says(monkeypatch, default, value, is_taken):
    monkeypatch.setitem(shared.opts.data_labels, "my_setting", OptionInfo(default, "Mine"))
    model = models.options_model()
    if is_taken:
        assert model.model_validate({"my_setting": value}).my_setting == value
    else:
        with pytest.raises(ValidationError):
            model.model_validate({"my_setting": value})


def test_answer_of_the_flags_has_a_field_for_each():
    model = models.flags_model()
    names = {action.dest for action in shared.parser._actions} - {"help", "==SUPPRESS=="}
    assert set(model.model_fields) == names
    answer = model.model_validate(vars(shared.cmd_opts))
    assert answer.api is True
    assert answer.data_dir == shared.cmd_opts.data_dir
    assert model(port=7860).port == "7860"
