"""From prompts to conditioning: what is encoded, when, and what models see beside the text."""

from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from modules import extra_networks, processing, prompt_parser, shared
from modules.job import conds
from modules.job.run_state import copy_of_job
from modules.model_families.sd1 import INSTRUCT_PIX2PIX, SD1_INPAINTING
from modules.placement import Placement
from modules.sd_hijack import model_hijack


@pytest.mark.parametrize(("sampler", "steps"), [("Euler", 20), ("Heun", 40), ("DPM++ SDE", 40), (None, 20)])
def test_second_order_samplers_call_the_model_twice_a_step(program, sampler, steps):
    assert conds.total_steps(sampler, 20) == steps


@pytest.fixture
def job(sd_model):
    """A small job whose prompts are encoded without the memory of other tests."""
    p = processing.StableDiffusionProcessingTxt2Img(prompt="apple", width=64, height=64, steps=4, sampler_name="Heun")
    p.prompts, p.negative_prompts = ["apple"], ["pear"]
    p.cached_c, p.cached_uc = [None, None], [None, None]
    return p


def count_encodings(monkeypatch):
    encoded = []
    encode = prompt_parser.get_learned_conditioning

    def counted(model, prompts, *args, **kwargs):
        encoded.append(list(prompts))
        return encode(model, prompts, *args, **kwargs)

    monkeypatch.setattr(prompt_parser, "get_learned_conditioning", counted)
    return encoded


def test_the_negative_prompt_is_encoded_first(job, monkeypatch):
    encoded = count_encodings(monkeypatch)
    conds.encode_first_pass(job)
    assert encoded == [["pear"], ["apple"]]
    assert (job.step_multiplier, job.firstpass_steps) == (2, 8)


def test_the_same_prompts_are_encoded_once(job, monkeypatch):
    conds.encode_first_pass(job)
    first = job.c, job.uc
    encoded = count_encodings(monkeypatch)
    conds.encode_first_pass(job)
    assert encoded == [] and (job.c, job.uc) == first
    job.prompts = ["plum"]
    conds.encode_first_pass(job)
    assert encoded == [["plum"]]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("CLIP_stop_at_last_layers", 2), ("emphasis", "Ignore"), ("sdxl_crop_top", 8), ("use_old_scheduling", True)],
)
def test_settings_that_change_the_text_forget_it(job, monkeypatch, setting, value):
    conds.encode_first_pass(job)
    monkeypatch.setitem(shared.opts.data, setting, value)
    encoded = count_encodings(monkeypatch)
    conds.encode_first_pass(job)
    assert encoded == [["pear"], ["apple"]]


def parsed(job, prompt):
    """The job with a prompt whose tags are cut out."""
    job.prompts = [prompt]
    job.parse_extra_network_prompts()
    return job


class Network(extra_networks.ExtraNetwork):
    """A network as extensions write them."""


class TextNetwork(Network):
    """One that knows what the text depends on."""

    def text_key(self, params_list):
        return [params.items[:2] for params in params_list]


@pytest.fixture
def networks(program, monkeypatch):
    monkeypatch.setattr(extra_networks, "extra_network_registry", dict(extra_networks.extra_network_registry))
    for network in (Network("other"), TextNetwork("text")):
        extra_networks.register_extra_network(network)


@pytest.mark.parametrize(
    ("first", "second", "is_encoded"),
    [
        ("<hypernet:a:0.5>", "<hypernet:a:0.5>", False),
        ("<hypernet:a:0.5>", "<hypernet:b>", False),
        ("<no_such_network:a>", "<no_such_network:a>", False),
        ("<text:a:1>", "<text:a:1>", False),
        ("<text:a:1>", "<text:a:1:0.5>", False),
        ("<text:a:1>", "<text:a:2>", True),
        ("<text:a:1>", "", True),
        ("<other:a>", "<other:a>", True),
    ],
)
def test_prompts_with_tags_are_encoded_when_the_text_may_have_changed(
    job, networks, monkeypatch, first, second, is_encoded
):
    conds.encode_first_pass(parsed(job, f"apple {first}"))
    encoded = count_encodings(monkeypatch)
    conds.encode_first_pass(parsed(job, f"apple {second}"))
    assert encoded == ([["pear"], ["apple"]] if is_encoded else [])


class Telling:
    """Has encoding tell the job something, as encoders do."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(model_hijack, "extra_generation_params", {})
        monkeypatch.setattr(model_hijack, "comments", [])
        encode = prompt_parser.get_learned_conditioning

        def telling(model, prompts, *args, **kwargs):
            params = model_hijack.extra_generation_params
            earlier = [params["TI hashes"]] if "TI hashes" in params else []
            params["TI hashes"] = ", ".join([f"{prompts[0].strip()}: 12", *earlier])
            params["Emphasis"] = "No norm"
            model_hijack.comments.append(f"read {prompts[0].strip()}")
            return encode(model, prompts, *args, **kwargs)

        monkeypatch.setattr(prompt_parser, "get_learned_conditioning", telling)

    @staticmethod
    def new_job():
        model_hijack.clear_comments()

    @staticmethod
    def told():
        return dict(model_hijack.extra_generation_params), list(model_hijack.comments)


TOLD = {"TI hashes": "apple: 12, pear: 12", "Emphasis": "No norm"}, ["read pear", "read apple"]


def test_what_encoding_told_is_told_again_with_tags(job, monkeypatch):
    telling = Telling(monkeypatch)
    conds.encode_first_pass(parsed(job, "apple <hypernet:a>"))
    assert telling.told() == TOLD
    telling.new_job()
    conds.encode_first_pass(parsed(job, "apple <hypernet:a>"))
    assert telling.told() == TOLD
    conds.encode_first_pass(parsed(job, "apple <hypernet:a>"))  # the next batch: as if each had been encoded
    assert telling.told()[0]["TI hashes"] == "apple: 12, pear: 12, apple: 12, pear: 12"


def test_it_is_not_told_again_without_tags(job, monkeypatch):
    telling = Telling(monkeypatch)
    conds.encode_first_pass(job)
    assert telling.told() == TOLD
    telling.new_job()
    conds.encode_first_pass(job)
    assert telling.told() == ({}, [])


def test_each_copy_of_a_job_is_told_what_encoding_told_another(job, monkeypatch):
    """Cells of a plot share a prompt, and each tells of itself alone."""
    telling = Telling(monkeypatch)
    first, second = copy_of_job(job), copy_of_job(job)
    conds.encode_first_pass(first)
    telling.new_job()
    conds.encode_first_pass(second)
    assert telling.told() == TOLD
    conds.encode_first_pass(second)  # the next batch
    assert telling.told() == TOLD
    telling.new_job()
    conds.encode_first_pass(copy_of_job(second))
    assert telling.told() == TOLD


def test_encoding_that_fails_has_told_what_it_found(job, monkeypatch):
    Telling(monkeypatch)
    with pytest.raises(ZeroDivisionError), conds.noting(model_hijack):
        model_hijack.comments.append("found")
        raise ZeroDivisionError
    assert model_hijack.comments == ["found"]


def test_pairs_that_extensions_put_into_the_cache_are_used(job, monkeypatch):
    conds.encode_first_pass(parsed(job, "apple <hypernet:a>"))
    job.cached_c, job.cached_uc = job.cached_c[:2], job.cached_uc[:2]
    encoded = count_encodings(monkeypatch)
    conds.encode_first_pass(job)
    assert encoded == []


def test_old_editing_timelines_are_told_only_where_they_differ(job, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "use_old_scheduling", True)
    conds.encode_first_pass(job)
    assert "Old prompt editing timelines" not in job.extra_generation_params
    # 1.0 is the whole run now, and was step 1 once.
    job.prompts = ["[apple:pear:1.0]"]
    conds.encode_first_pass(job)
    assert job.extra_generation_params["Old prompt editing timelines"] is True


def test_the_mask_stands_before_the_latent():
    latent = torch.rand(2, 4, 3, 5)
    joined = conds.with_mask_channel(latent, 1.0)
    assert joined.shape == (2, 5, 3, 5)
    assert torch.equal(joined[:, 1:], latent) and joined[:, 0].eq(1).all()
    mask = torch.rand(1, 1, 3, 5)
    assert torch.equal(conds.with_mask_channel(latent, mask)[:, 0], mask[:, 0].expand(2, -1, -1))


def test_models_without_image_conditioning_get_a_placeholder(sd_model):
    latent = torch.rand(2, 4, 8, 8)
    given = conds.text_only_conditioning(sd_model, latent, 64, 64)
    assert given.shape == (2, 5, 1, 1) and not given.any()


class Encoder:
    """An inpainting model as far as its conditioning goes: encodes to the mean of 8x8 pixels."""

    cond_stage_key = "txt"
    is_sdxl_inpaint = False
    dtype = torch.float32
    placement = Placement.from_flags(torch.device("cpu"))
    model = SimpleNamespace(conditioning_key="hybrid")
    family = SD1_INPAINTING

    def encode_first_stage(self, pixels, generator=None):
        return torch.nn.functional.avg_pool2d(pixels, 8)

    def get_first_stage_encoding(self, encoded):
        return encoded


@pytest.fixture
def inpainting():
    return SimpleNamespace(sd_model=Encoder(), all_seeds=[1], is_using_inpainting_conditioning=False)


def test_inpainting_models_see_the_picture_without_its_masked_part(inpainting):
    pixels = torch.ones(1, 3, 16, 16)
    mask = Image.new("L", (16, 16))
    mask.paste(255, (0, 0, 8, 16))
    given = conds.image_conditioning(inpainting, pixels, torch.zeros(1, 4, 2, 2), mask)
    assert inpainting.is_using_inpainting_conditioning
    assert given[0, 0].tolist() == [[1, 0], [1, 0]]
    assert given[0, 1].tolist() == [[0, 1], [0, 1]]


def test_the_mask_weight_lets_some_of_it_through(inpainting):
    inpainting.inpainting_mask_weight = 0.25
    given = conds.image_conditioning(inpainting, torch.ones(1, 3, 16, 16), torch.zeros(1, 4, 2, 2))
    assert given[0, 0].eq(1).all()
    assert torch.allclose(given[0, 1:], torch.tensor(0.75))


def test_soft_masks_stay_soft_only_when_asked(inpainting):
    soft = Image.new("L", (16, 16), 153)
    given = [
        conds.image_conditioning(inpainting, torch.ones(1, 3, 16, 16), torch.zeros(1, 4, 2, 2), soft, rounded)[0, 0]
        for rounded in (True, False)
    ]
    assert given[0].eq(1).all()
    assert torch.allclose(given[1], torch.tensor(0.6))


def test_edit_models_see_the_mode_of_the_picture():
    pixels = torch.rand(1, 3, 16, 16)
    model = SimpleNamespace(encode_first_stage=lambda pixels: SimpleNamespace(mode=lambda: pixels * 2))
    model.family = INSTRUCT_PIX2PIX
    assert torch.equal(conds.edit_conditioning(model, pixels), pixels * 2)
    assert not conds.text_only_conditioning(model, torch.ones(1, 4, 2, 2), 16, 16).any()


@pytest.fixture
def two_passes(sd_model):
    """A job with a hires pass, its first batch's prompts in place."""
    p = processing.StableDiffusionProcessingTxt2Img(
        prompt="red apple",
        hr_prompt="green pear",
        width=64,
        height=64,
        steps=2,
        sampler_name="Euler",
        enable_hr=True,
        hr_upscaler="Latent",
    )
    p.setup_prompts()
    p.hr_upscale_to_x = p.hr_upscale_to_y = 128
    p.prompts, p.negative_prompts = p.all_prompts, p.all_negative_prompts
    p.parse_extra_network_prompts()
    for cache in ("cached_c", "cached_uc", "cached_hr_c", "cached_hr_uc"):
        setattr(p, cache, [None, None])
    return p


@pytest.mark.parametrize("at_once", [False, True])
def test_the_second_pass_is_encoded_at_once_if_a_setting_says_so(two_passes, monkeypatch, at_once):
    monkeypatch.setitem(shared.opts.data, "hires_fix_use_firstpass_conds", at_once)
    two_passes.setup_conds()
    assert two_passes.get_conds() == (two_passes.c, two_passes.uc)
    assert (two_passes.hr_c is not None) is at_once
    two_passes.calculate_hr_conds()
    assert two_passes.hr_c is not None and two_passes.c is not two_passes.hr_c


def test_a_checkpoint_of_its_own_encodes_its_prompts_itself(two_passes, monkeypatch):
    monkeypatch.setitem(shared.opts.data, "hires_fix_use_firstpass_conds", True)
    two_passes.hr_checkpoint_info = shared.sd_model.sd_checkpoint_info
    two_passes.setup_conds()
    assert two_passes.hr_c is None


def test_in_the_second_pass_only_its_conditioning_is_made_anew(two_passes):
    two_passes.setup_conds()
    first = two_passes.c
    two_passes.is_hr_pass = True
    two_passes.hr_c = "of another model"
    two_passes.setup_conds()
    assert two_passes.c is first and two_passes.hr_c != "of another model"
    assert two_passes.get_conds() == (two_passes.hr_c, two_passes.hr_uc)


def test_the_key_is_asked_through_the_job(two_passes, monkeypatch):
    """An extension puts another method in place, to have texts encoded again that its own settings change."""
    asked = []
    monkeypatch.setattr(two_passes, "cached_params", lambda *args: asked.append(args) or len(asked))
    two_passes.setup_conds()
    first = two_passes.c
    two_passes.setup_conds()
    assert len(asked) == 4 and two_passes.c is not first
