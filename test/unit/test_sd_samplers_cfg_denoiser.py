from types import SimpleNamespace

import pytest
import torch

from modules import errors, script_callbacks, sd_samplers, sd_samplers_cfg_denoiser, sd_samplers_common, shared
from modules.sampling.conditioning import ConditioningError
from modules.sd_samplers_cfg_denoiser import CFGDenoiser, catenate_conds, pad_cond, subscript_cond
from test.unit.sampler_jobs import (
    STD,
    VECTOR_WIDTH,
    PromptModel,
    job,
    no_picture,
    prompts,
    schedule,
    text,
    two_part_text,
)

pytestmark = pytest.mark.usefixtures("fresh_state")


class Call:
    """A denoiser of a sampler, ready to be called with one sigma; keeps the job and the model."""

    def __init__(self, sampler="Euler", model=None, **fields):
        self.model = model or PromptModel()
        self.p = job(**fields)
        self.sampler = sd_samplers.create_sampler(sampler, self.model)
        self.sampler.initialize(self.p)
        self.denoiser = self.sampler.model_wrap_cfg
        self.denoiser.total_steps = 10
        self.sampler.sampler_extra_args = {}

    def __call__(self, cond, uncond, sigma=2.0, cond_scale=1.0, x=None, image_cond=None, s_min_uncond=0.0):
        images = cond.shape[0]
        x = torch.full((images, 1, 4, 4), 1.0) if x is None else x
        return self.denoiser(
            x,
            torch.full((images,), sigma),
            uncond=uncond,
            cond=cond,
            cond_scale=cond_scale,
            s_min_uncond=s_min_uncond,
            image_cond=no_picture(images) if image_cond is None else image_cond,
        )

    @property
    def infotext(self):
        return self.p.extra_generation_params


def denoised(x: float, mean: float, sigma: float = 2.0) -> float:
    return (STD**2 * x + sigma**2 * mean) / (STD**2 + sigma**2)


POSITIVE, NEGATIVE = prompts(schedule(text(3))), [schedule(text(-1))]


def test_guides_away_from_the_negative_prompt():
    call = Call()
    result = call(POSITIVE, NEGATIVE, cond_scale=7.0)
    wanted = denoised(1, -1) + 7 * (denoised(1, 3) - denoised(1, -1))
    assert result.flatten().tolist() == pytest.approx([wanted] * 16, rel=1e-4)
    assert call.model.rows == [2]
    assert call.denoiser.step == 1


def test_parts_of_and_add_up_for_each_image():
    call = Call()
    cond = prompts([(schedule(text(1)), 1.0), (schedule(text(2)), 0.5)], schedule(text(3)))
    result = call(cond, [schedule(text(0)), schedule(text(-1))], cond_scale=2.0)
    base = denoised(1, 0)
    first = base + 2 * (denoised(1, 1) - base) + 2 * 0.5 * (denoised(1, 2) - base)
    second = denoised(1, -1) + 2 * (denoised(1, 3) - denoised(1, -1))
    assert result[:, 0, 0, 0].tolist() == pytest.approx([first, second], rel=1e-4)
    assert call.model.calls[0].means == pytest.approx([1, 2, 3, 0, -1])


def test_prompt_editing_follows_the_call_number():
    call = Call()
    cond = prompts(schedule((1, text(1)), (3, text(2))))
    for _ in range(6):
        call(cond, NEGATIVE)
    assert [c.means[0] for c in call.model.calls] == [1, 1, 2, 2, 1, 1]


@pytest.mark.parametrize("flag", ["interrupted", "skipped"])
def test_raises_when_the_user_ends_the_pass(flag):
    call = Call()
    setattr(shared.state, flag, True)
    with pytest.raises(sd_samplers_common.InterruptedException):
        call(POSITIVE, NEGATIVE)
    assert call.model.calls == []


@pytest.fixture
def hooked():
    """hooked(registrar, function) registers a callback for the test."""
    functions = []

    def register(registrar, function):
        functions.append(function)
        registrar(function)

    yield register
    for function in functions:
        script_callbacks.remove_callbacks_for_function(function)


def test_callbacks_come_in_order_and_may_replace_what_they_are_given(hooked):
    order = []
    call = Call()
    shared.state.sampling_step, shared.state.sampling_steps = 3, 8

    def before(params):
        order.append("denoiser")
        assert params.denoiser is call.denoiser
        assert (params.sampling_step, params.total_sampling_steps) == (3, 8)
        assert [len(params.x), len(params.sigma), len(params.image_cond), len(params.text_cond)] == [2, 2, 2, 1]
        params.text_cond = params.text_cond + 1
        params.text_uncond = params.text_uncond * 0
        params.x = params.x * 0
        params.sigma = params.sigma * 2

    def between(params):
        order.append("denoised")
        assert params.inner_model is call.denoiser.inner_model
        params.x[0] += 10

    def after(params):
        order.append("after")
        params.x = params.x + 100

    hooked(script_callbacks.on_cfg_denoiser, before)
    hooked(script_callbacks.on_cfg_denoised, between)
    hooked(script_callbacks.on_cfg_after_cfg, after)
    result = call(POSITIVE, NEGATIVE, cond_scale=1.0)
    assert order == ["denoiser", "denoised", "after"]
    assert float(result[0, 0, 0, 0]) == pytest.approx(denoised(0, 4, sigma=4.0) + 110, rel=1e-4)
    assert call.model.calls[0].means == [4, 0]


def test_methods_replaced_by_extensions_take_effect(monkeypatch):
    monkeypatch.setattr(
        CFGDenoiser, "combine_denoised", lambda self, x_out, conds_list, uncond, cond_scale: x_out[:1] * 0
    )
    assert float(Call()(POSITIVE, NEGATIVE).abs().max()) == 0


DENOISER_ATTRIBUTES = (
    "model_wrap mask nmask init_latent steps total_steps step image_cfg_scale padded_cond_uncond "
    "padded_cond_uncond_v0 sampler p cond_scale_miltiplier need_last_noise_uncond last_noise_uncond "
    "mask_before_denoising inner_model is_edit_model"
)
"""v1.10.1's."""


@pytest.mark.parametrize("name", ["Euler", "DDIM"])
def test_attributes_that_extensions_read_are_there_during_a_pass(name, monkeypatch):
    call, seen = Call(name), {}
    original = CFGDenoiser.combine_denoised

    def combine(self, x_out, conds_list, uncond, cond_scale):
        seen.update({attribute: getattr(self, attribute) for attribute in DENOISER_ATTRIBUTES.split()})
        return original(self, x_out, conds_list, uncond, cond_scale)

    monkeypatch.setattr(CFGDenoiser, "combine_denoised", combine)
    call(POSITIVE, NEGATIVE, sigma=3.0)
    assert (seen["p"], seen["sampler"], seen["step"], seen["total_steps"]) == (call.p, call.sampler, 0, 10)
    assert seen["inner_model"] is seen["model_wrap"] and seen["inner_model"].inner_model is call.model
    assert seen["mask_before_denoising"] == (name == "DDIM")


@pytest.mark.parametrize(
    ("method", "sampler", "needs"),
    [
        ("forward", "Euler", {}),
        ("combine_denoised", "Euler", {}),
        ("combine_denoised_for_edit_model", "Euler", {"image_cfg_scale": 2.0}),
        ("get_pred_x0", "Euler", {}),
        ("get_pred_x0", "DDIM", {}),
    ],
)
def test_a_method_replaced_on_its_class_is_called(monkeypatch, method, sampler, needs):
    call, calls = Call(sampler), []
    for name, value in needs.items():
        setattr(call.denoiser, name, value)
        call.denoiser.init_latent = no_picture()
    owner = next(cls for cls in type(call.denoiser).__mro__ if method in vars(cls))
    original = vars(owner)[method]
    monkeypatch.setattr(owner, method, lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    call(POSITIVE, NEGATIVE, sigma=3.0)
    assert calls


class TestSkippingTheNegativePrompt:
    def test_in_the_early_steps(self, settings):
        settings(skip_early_cond=0.2)
        call = Call()
        for _ in range(4):
            call(POSITIVE, NEGATIVE, cond_scale=7.0)
        assert call.model.rows == [1, 1, 1, 2]
        assert call.infotext == {"Skip Early CFG": 0.2}

    def test_leaves_the_prediction_unguided(self, settings):
        settings(skip_early_cond=0.2)
        assert float(Call()(POSITIVE, NEGATIVE, cond_scale=7.0)[0, 0, 0, 0]) == pytest.approx(denoised(1, 3), rel=1e-4)

    def test_on_odd_steps_below_a_sigma(self):
        call = Call()
        for sigma in (4.0, 4.0, 2.0, 2.0):
            call(POSITIVE, NEGATIVE, sigma=sigma, s_min_uncond=3.0)
        assert call.model.rows == [2, 2, 2, 1]
        assert call.infotext == {"NGMS": 3.0}

    def test_on_all_steps_below_a_sigma(self, settings):
        settings(s_min_uncond_all=True)
        call = Call()
        for sigma in (4.0, 2.0):
            call(POSITIVE, NEGATIVE, sigma=sigma, s_min_uncond=3.0)
        assert call.model.rows == [2, 1]
        assert call.infotext == {"NGMS": 3.0, "NGMS all steps": True}

    def test_shortens_the_pictures_of_inpainting_models_too(self, settings):
        settings(skip_early_cond=1.0)
        call = Call(model=PromptModel(conditioning_key="hybrid"))
        call(POSITIVE, NEGATIVE, image_cond=torch.ones(1, 5, 4, 4))
        assert call.model.calls[0].image.shape[0] == 1

    def test_gives_each_image_its_first_part(self, settings):
        settings(skip_early_cond=1.0)
        call = Call()
        cond = prompts([(schedule(text(1)), 1.0), (schedule(text(2)), 1.0)], schedule(text(3)))
        call(cond, NEGATIVE * 2)
        assert call.sampler.last_latent[:, 0, 0, 0].tolist() == pytest.approx(
            [denoised(1, 1), denoised(1, 3)], rel=1e-4
        )


LONG = prompts(schedule(text(3, length=6)))


class TestPromptsOfDifferentLength:
    def test_are_evaluated_one_after_the_other(self):
        call = Call()
        result = call(LONG, NEGATIVE, cond_scale=7.0)
        assert [(c.rows, c.tokens) for c in call.model.calls] == [(1, 6), (1, 2)]
        equal = Call()(POSITIVE, NEGATIVE, cond_scale=7.0)
        assert result == pytest.approx(equal, rel=1e-5)
        assert not call.denoiser.padded_cond_uncond

    def test_the_positive_rows_go_in_pieces_of_two_batches(self, settings):
        three_parts = [(schedule(text(i, length=6)), 1.0) for i in range(3)]
        call = Call()
        call(prompts(three_parts), NEGATIVE)
        assert call.model.rows == [2, 1, 1]
        settings(batch_cond_uncond=False)
        call = Call()
        call(prompts(three_parts), NEGATIVE)
        assert call.model.rows == [1, 1, 1, 1]

    def test_get_empty_prompts_appended(self, settings):
        settings(pad_cond_uncond=True)
        call = Call()
        call(LONG, NEGATIVE)
        assert [(c.rows, c.tokens) for c in call.model.calls] == [(2, 6)]
        assert call.model.calls[0].text[1].flatten().tolist() == [-1, -1, 9, 9, 9, 9]
        assert call.denoiser.padded_cond_uncond
        call(prompts(schedule(text(3))), [schedule(text(-1, length=4))])
        assert call.model.calls[1].text[0].flatten().tolist() == [3, 3, 9, 9]
        call(POSITIVE, NEGATIVE)
        assert not call.denoiser.padded_cond_uncond

    def test_get_the_last_vector_repeated_the_old_way(self, settings):
        settings(pad_cond_uncond=True, pad_cond_uncond_v0=True)
        call = Call()
        call(LONG, [schedule(torch.tensor([[1.0], [2.0]]))])
        assert call.model.calls[0].text[1].flatten().tolist() == [1, 2, 2, 2, 2, 2]
        assert (call.denoiser.padded_cond_uncond_v0, call.denoiser.padded_cond_uncond) == (True, False)
        call(prompts(schedule(text(3, length=1))), [schedule(torch.tensor([[1.0], [2.0]]))])
        assert call.model.calls[1].text[1].flatten().tolist() == [1]

    def test_do_not_matter_while_the_negative_prompt_is_skipped(self, settings):
        settings(skip_early_cond=1.0)
        call = Call()
        call(LONG, NEGATIVE)
        assert [(c.rows, c.tokens) for c in call.model.calls] == [(1, 6)]


def test_rows_are_evaluated_in_pieces_of_a_batch_if_wanted(settings):
    settings(batch_cond_uncond=False)
    call = Call()
    pieces = call(POSITIVE, NEGATIVE, cond_scale=7.0)
    assert call.model.rows == [1, 1]
    settings(batch_cond_uncond=True)
    assert torch.equal(pieces, Call()(POSITIVE, NEGATIVE, cond_scale=7.0))


class TestVector:
    """Models that take a vector beside the text, which raises the mean of what they predict."""

    cond, uncond = prompts(schedule(two_part_text(3, length=6))), [schedule(two_part_text(-1))]

    def test_reaches_the_network_with_each_prompt(self):
        call = Call(model=PromptModel(takes_vector=True))
        result = call(self.cond, self.uncond, cond_scale=7.0)
        wanted = Call()(prompts(schedule(text(6))), [schedule(text(-2))], cond_scale=7.0)
        assert result == pytest.approx(wanted, rel=1e-5)
        assert [c.vector.tolist() for c in call.model.calls] == [[[3.0] * VECTOR_WIDTH], [[-1.0] * VECTOR_WIDTH]]

    @pytest.mark.parametrize("empty", [torch.full((1, 2, 1), 9.0), {"crossattn": torch.full((1, 2, 1), 9.0)}])
    def test_is_not_touched_by_padding(self, settings, empty):
        """The empty prompt may be what any encoder returns; only its tokens count."""
        settings(pad_cond_uncond=True)
        call = Call(model=PromptModel(takes_vector=True))
        call.model.cond_stage_model_empty_prompt = empty
        call(self.cond, self.uncond)
        (made,) = call.model.calls
        assert made.text[:, :, 0].tolist() == [[3] * 6, [-1, -1, 9, 9, 9, 9]]
        assert made.vector[:, 0].tolist() == [3, -1]

    def test_may_be_changed_by_callbacks(self, hooked):
        def brighten(params):
            params.text_cond["vector"] = params.text_cond["vector"] + 1
            params.text_uncond = {key: value * 2 for key, value in params.text_uncond.items()}

        hooked(script_callbacks.on_cfg_denoiser, brighten)
        call = Call(model=PromptModel(takes_vector=True))
        call(self.cond, self.uncond)
        assert [c.means for c in call.model.calls] == [[3 + 4], [-2 + -2]]

    def test_is_an_error_with_a_model_that_has_no_place_for_it(self):
        with pytest.raises(ConditioningError, match="no place for: 'vector'"):
            Call()(self.cond, self.uncond)

    def test_parts_that_callbacks_invent_are_an_error(self, hooked):
        def invent(params):
            params.text_cond = {"crossattn": params.text_cond, "control": params.text_cond}

        hooked(script_callbacks.on_cfg_denoiser, invent)
        with pytest.raises(ConditioningError, match="'control'"):
            Call()(POSITIVE, NEGATIVE)


def test_models_of_pictures_get_the_picture_with_the_negative_prompt_too():
    call = Call(model=PromptModel(conditioning_key="hybrid"))
    call(POSITIVE, NEGATIVE, image_cond=torch.full((1, 5, 4, 4), 0.5))
    assert call.model.calls[0].means == pytest.approx([3.5, -0.5])


MASK = {"mask": torch.tensor([1.0, 0.0]).view(1, 1, 1, 2), "nmask": torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)}


class TestMask:
    def masked_call(self, sampler="Euler", **fields):
        call = Call(sampler, **MASK, **fields)
        call.denoiser.init_latent = torch.full((1, 1, 1, 2), 7.0)
        return call

    def test_keeps_the_original_in_the_result(self):
        call = self.masked_call()
        result = call(POSITIVE, NEGATIVE, x=torch.ones(1, 1, 1, 2))
        assert result.flatten().tolist() == pytest.approx([7.0, denoised(1, 3)], rel=1e-4)
        assert call.sampler.last_latent.flatten().tolist() == pytest.approx([denoised(1, 3)] * 2, rel=1e-4)

    def test_is_applied_to_the_input_over_timesteps(self):
        call = self.masked_call("DDIM")
        call(POSITIVE, NEGATIVE, x=torch.ones(1, 1, 1, 2), sigma=500.0)
        assert call.model.calls[0].x[0].flatten().tolist() == [7.0, 1.0]

    @pytest.mark.parametrize(("sampler", "sigma"), [("Euler", 2.0), ("DDIM", 500.0)])
    def test_scripts_may_blend_in_their_own_way(self, sampler, sigma):
        seen = []

        def on_mask_blend(p, mba):
            seen.append(mba)
            mba.blended_latent = mba.blended_latent * 0 + 2

        call = self.masked_call(sampler, scripts=SimpleNamespace(on_mask_blend=on_mask_blend))
        result = call(POSITIVE, NEGATIVE, x=torch.ones(1, 1, 1, 2), sigma=sigma)
        (mba,) = seen
        assert (mba.denoiser, mba.is_final_blend, mba.sigma.tolist()) == (call.denoiser, False, [sigma])
        blended = result if sampler == "Euler" else call.model.calls[0].x[0]
        assert blended.flatten().tolist() == [2.0, 2.0]


class TestPreview:
    @pytest.mark.parametrize(
        ("content", "wanted"),
        [
            ("Prompt", denoised(1, 3)),
            ("Negative prompt", denoised(1, -1)),
            ("Combined", denoised(1, -1) + 2 * (denoised(1, 3) - denoised(1, -1))),
        ],
    )
    def test_shows_what_the_setting_says(self, settings, content, wanted):
        settings(live_preview_content=content)
        Call()(POSITIVE, NEGATIVE, cond_scale=2.0)
        assert float(shared.state.current_latent[0, 0, 0, 0]) == pytest.approx(wanted, rel=1e-4)

    @pytest.mark.parametrize("content", ["Prompt", "Negative prompt", "Combined"])
    def test_is_the_clean_latent_over_timesteps(self, settings, content):
        settings(live_preview_content=content)
        call = Call("DDIM")
        x = torch.full((1, 1, 4, 4), 0.5)
        call(POSITIVE, NEGATIVE, x=x, sigma=500.0, cond_scale=1.0)
        alpha = float(call.model.alphas_cumprod[500])
        mean = -1 if content == "Negative prompt" else 3
        wanted = denoised(0.5 / alpha**0.5, mean, sigma=((1 - alpha) / alpha) ** 0.5)
        assert float(shared.state.current_latent[0, 0, 0, 0]) == pytest.approx(wanted, rel=1e-3)


class TestInstructPix2Pix:
    def edit_call(self, **fields):
        call = Call(model=PromptModel(conditioning_key="hybrid"), image_cfg_scale=1.5, **fields)
        call.denoiser.init_latent = torch.zeros(1, 5, 4, 4)
        return call

    def test_combines_prompt_and_picture(self):
        call = self.edit_call()
        result = call(POSITIVE, NEGATIVE, cond_scale=7.0, image_cond=torch.full((1, 5, 4, 4), 0.5))
        cond, image_only, uncond = denoised(1, 3.5), denoised(1, -0.5), denoised(1, -1)
        wanted = uncond + 7 * (cond - image_only) + 1.5 * (image_only - uncond)
        assert float(result[0, 0, 0, 0]) == pytest.approx(wanted, rel=1e-4)
        assert call.model.rows == [3]

    def test_never_skips_the_negative_prompt_by_sigma(self, settings):
        settings(s_min_uncond_all=True)
        call = self.edit_call()
        call(POSITIVE, NEGATIVE, s_min_uncond=5.0, image_cond=torch.zeros(1, 5, 4, 4))
        assert call.model.rows == [3]

    def test_refuses_and(self):
        with pytest.raises(errors.InvalidInput, match="AND"):
            self.edit_call()(prompts([(schedule(text(1)), 1.0)] * 2), NEGATIVE, image_cond=torch.zeros(1, 5, 4, 4))

    def test_refuses_prompts_of_different_length(self, settings):
        with pytest.raises(errors.InvalidInput, match="pad_cond_uncond"):
            self.edit_call()(LONG, NEGATIVE, image_cond=torch.zeros(1, 5, 4, 4))
        settings(pad_cond_uncond=True)
        self.edit_call()(LONG, NEGATIVE, image_cond=torch.zeros(1, 5, 4, 4))


def test_the_base_class_has_no_wrapper_of_its_own():
    with pytest.raises(NotImplementedError):
        CFGDenoiser(sampler=None).inner_model  # noqa: B018


def test_names_that_extensions_import():
    for name in ("CFGDenoiserParams", "state", "opts"):
        assert hasattr(sd_samplers_cfg_denoiser, name)


class TestFunctionsThatExtensionsCall:
    @staticmethod
    def batch(*values):
        return torch.stack([text(value) for value in values])

    def test_on_tensors(self):
        joined = catenate_conds([self.batch(1, 2), self.batch(3)])
        assert joined[:, 0, 0].tolist() == [1, 2, 3]
        assert subscript_cond(joined, 1, 3)[:, 0, 0].tolist() == [2, 3]
        padded = pad_cond(joined, 2, torch.full((1, 2, 1), 9.0))
        assert padded[1].flatten().tolist() == [2, 2, 9, 9, 9, 9]

    def test_on_dicts(self):
        parts = [{"crossattn": self.batch(value), "vector": torch.tensor([[float(value)]])} for value in (1, 2)]
        joined = catenate_conds(parts)
        assert joined["vector"].flatten().tolist() == [1, 2]
        assert subscript_cond(joined, 1, 2)["vector"].tolist() == [[2]]
        padded = pad_cond(joined, 1, {"crossattn": torch.full((1, 2, 1), 9.0), "vector": torch.zeros(1, 1)})
        assert padded.shape == (2, 4, 1)
        assert padded["vector"] is joined["vector"]
        assert joined.shape == (2, 2, 1)


@pytest.mark.parametrize("sampler", ["Euler", "LCM", "DDIM"])
def test_a_call_never_waits_for_the_device(sampler):
    """On the meta device a tensor has no values: asking for one raises."""

    class Unet(torch.nn.Module):
        def forward(self, x, t, context):
            return x * t.view(-1, 1, 1, 1).float() + context.mean()

    meta = {"device": "meta"}
    call = Call(sampler)
    call.model.model.diffusion_model = Unet()
    call.denoiser.inner_model.to("meta")
    call.denoiser.alphas = torch.zeros(1000, **meta)
    call.denoiser.mask = call.denoiser.nmask = call.denoiser.init_latent = torch.zeros(1, 1, 4, 4, **meta)
    cond = prompts([(schedule(text(1).to("meta")), 1.0), (schedule(text(1).to("meta")), 0.5)])
    result = call.denoiser(
        torch.zeros(1, 1, 4, 4, **meta),
        torch.zeros(1, **meta),
        uncond=[schedule(text(-1).to("meta"))],
        cond=cond,
        cond_scale=7.0,
        s_min_uncond=0.0,
        image_cond=torch.zeros(1, 5, 1, 1, **meta),
    )
    assert result.device.type == "meta"
