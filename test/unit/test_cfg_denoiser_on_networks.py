"""Guidance on a network of diffusers, of the XL layout: which parts of a conditioning reach it, and in which rows."""

import copy
from types import SimpleNamespace

import pytest
import torch

from modules import sd_samplers
from modules.sampling.conditioning import SIZE_WIDTH, Conditioning, ConditioningError
from modules.sampling.denoisers import EpsDenoiser
from test.unit.sampler_jobs import job, no_picture, prompts, schedule
from test.unit.tiny_networks import POOLED, tiny_xl_model, tiny_xl_unet

SIGMA, SCALE = 2.0, 7.0

pytestmark = pytest.mark.usefixtures("fresh_state")


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def unet():
    return tiny_xl_unet()


@pytest.fixture
def model(unet):
    """A model whose `calls` are the arguments of its network."""
    calls = []

    def record(module, args, kwargs):
        calls.append(SimpleNamespace(rows=len(args[0]), tokens=kwargs["context"], vector=kwargs["y"]))

    model = tiny_xl_model(unet)
    handle = model.model.diffusion_model.register_forward_pre_hook(record, with_kwargs=True)
    model.cond_stage_model_empty_prompt = {"crossattn": EMPTY["crossattn"][None], "vector": EMPTY["vector"][None]}
    model.calls = calls
    yield model
    handle.remove()


def xl_text(seed, length=4):
    """What a prompt is encoded to."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(POOLED + 6 * SIZE_WIDTH, generator=generator)
    return {"crossattn": torch.randn(length, 16, generator=generator), "vector": vector}


EMPTY, CAT, RED, LONG, UGLY = (xl_text(*args) for args in ((1,), (2,), (3,), (4, 8), (5,)))
X = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(9))


def guided(model, cond, uncond, **fields):
    """One call of the denoiser of Euler at the level SIGMA."""
    p = job(batch_size=cond.shape[0], **fields)
    sampler = sd_samplers.create_sampler("Euler", model)
    sampler.initialize(p)
    denoiser = sampler.model_wrap_cfg
    denoiser.total_steps = 10
    images = cond.shape[0]
    sigmas = torch.full((images,), SIGMA)
    return denoiser(X.repeat(images, 1, 1, 1), sigmas, uncond, cond, SCALE, 0.0, no_picture(images))


def alone(unet, text):
    """What the network makes of one text, asked directly: the denoised latent."""
    sigma = torch.tensor([SIGMA])
    t = EpsDenoiser(tiny_xl_model(unet)).sigma_to_t(sigma)
    x = X / (SIGMA**2 + 1) ** 0.5
    return X - SIGMA * unet(x, t, text["crossattn"][None], class_labels=text["vector"][None]).sample


def combined(unet, uncond, *parts):
    """Guidance from networks asked one by one."""
    base = alone(unet, uncond)
    return base + sum(SCALE * weight * (alone(unet, text) - base) for text, weight in parts)


def in_half_precision(unet):
    """A model around a copy of the network in bfloat16."""
    return tiny_xl_model(copy.deepcopy(unet).to(torch.bfloat16), torch.bfloat16)


def padded(text, times=1):
    return text | {"crossattn": torch.cat([text["crossattn"], *[EMPTY["crossattn"]] * times])}


def rows_of(model):
    return [call.rows for call in model.calls]


def assert_got(call, *texts):
    """Each row of a call has the tokens and the vector of its text."""
    assert torch.equal(call.tokens, torch.stack([text["crossattn"] for text in texts]))
    assert torch.equal(call.vector, torch.stack([text["vector"] for text in texts]))


@pytest.mark.parametrize("together", [True, False])
def test_prompt_and_negative_prompt(model, unet, settings, together):
    settings(batch_cond_uncond=together)
    result = guided(model, prompts(schedule(CAT)), [schedule(UGLY)])
    if together:
        assert_got(model.calls[0], CAT, UGLY)
    else:
        assert_got(model.calls[0], CAT)
        assert_got(model.calls[1], UGLY)
    assert rows_of(model) == ([2] if together else [1, 1])
    assert result == pytest.approx(combined(unet, UGLY, (CAT, 1.0)), abs=1e-4)


def test_parts_of_and(model, unet):
    result = guided(model, prompts([(schedule(CAT), 1.0), (schedule(RED), 0.5)]), [schedule(UGLY)])
    assert_got(model.calls[0], CAT, RED, UGLY)
    assert result == pytest.approx(combined(unet, UGLY, (CAT, 1.0), (RED, 0.5)), abs=1e-4)


def test_a_shorter_part_is_filled_up_and_keeps_its_vector(model):
    guided(model, prompts([(schedule(LONG), 1.0), (schedule(CAT), 1.0)]), [schedule(UGLY)])
    filled = torch.cat([CAT["crossattn"], CAT["crossattn"][-1:].repeat(4, 1)])
    assert_got(model.calls[0], LONG, CAT | {"crossattn": filled})
    assert_got(model.calls[1], UGLY)


def test_texts_of_different_length_are_asked_one_after_the_other(model, unet):
    result = guided(model, prompts(schedule(LONG)), [schedule(UGLY)])
    assert_got(model.calls[0], LONG)
    assert_got(model.calls[1], UGLY)
    assert result == pytest.approx(combined(unet, UGLY, (LONG, 1.0)), abs=1e-4)


@pytest.mark.parametrize("as_tensor", [True, False], ids=["the empty prompt's tokens", "all of the empty prompt"])
def test_the_shorter_text_is_padded_if_wanted(model, unet, settings, as_tensor):
    settings(pad_cond_uncond=True)
    if as_tensor:
        model.cond_stage_model_empty_prompt = EMPTY["crossattn"][None]
    result = guided(model, prompts(schedule(LONG)), [schedule(UGLY)])
    assert_got(model.calls[0], LONG, padded(UGLY))
    assert result == pytest.approx(combined(unet, padded(UGLY), (LONG, 1.0)), abs=1e-4)

    guided(model, prompts(schedule(CAT)), [schedule(LONG)])
    assert_got(model.calls[-1], padded(CAT), LONG)


def test_the_old_way_of_padding(model, settings):
    settings(pad_cond_uncond_v0=True)
    guided(model, prompts(schedule(CAT)), [schedule(LONG)])
    assert_got(model.calls[0], CAT, LONG | {"crossattn": LONG["crossattn"][:4]})


def test_without_the_negative_prompt(model, unet, settings):
    settings(skip_early_cond=1.0)
    result = guided(model, prompts(schedule(CAT), schedule(RED)), [schedule(UGLY)] * 2, all_seeds=[1, 2])
    assert_got(model.calls[0], CAT, RED)
    assert result == pytest.approx(torch.cat([alone(unet, CAT), alone(unet, RED)]), abs=1e-4)


class TestModel:
    """What apply_model takes."""

    TIMESTEP = torch.tensor([400.0])

    @staticmethod
    def parts(text=CAT):
        return text["crossattn"][None], text["vector"][None]

    def test_in_every_form(self, model):
        tokens, vector = self.parts()
        wanted = model.apply_model(X, self.TIMESTEP, {"crossattn": tokens, "vector": vector})
        for form in (
            {"c_crossattn": [tokens], "c_adm": vector},
            {"crossattn": tokens, "vector": vector, "c_concat": [no_picture()]},
            Conditioning(tokens, vector),
        ):
            assert torch.equal(model.apply_model(X, self.TIMESTEP, form), wanted)

    def test_the_size_may_be_apart(self, model):
        tokens, vector = self.parts()
        size = torch.tensor([[1024.0, 768, 0, 8, 1024, 768]])
        apart = Conditioning(tokens, vector[:, :POOLED], size=size)
        assert torch.equal(model.apply_model(X, self.TIMESTEP, apart), model.apply_model(X, self.TIMESTEP, apart.cond))
        assert torch.equal(model.calls[1].vector, apart.whole_vector)

    def test_needs_the_vector(self, model):
        with pytest.raises(ConditioningError, match="needs .*'vector'"):
            model.apply_model(X, self.TIMESTEP, CAT["crossattn"][None])

    def test_does_not_know_every_part(self, model):
        tokens, vector = self.parts()
        with pytest.raises(ConditioningError, match="'guidance'"):
            model.apply_model(X, self.TIMESTEP, {"crossattn": tokens, "vector": vector, "guidance": vector})


class TestNetworkThatEmbedsTheSize:
    """With the same weights it computes the same from the numbers as the other from their sinusoids."""

    SIZE = torch.tensor([[1024.0, 768, 0, 8, 1152, 2049]])
    TIMESTEP = torch.tensor([400.0])

    @pytest.fixture(scope="class")
    def embedding(self, unet):
        weights = {key.replace("class_embedding.", "add_embedding."): value for key, value in unet.state_dict().items()}
        other = tiny_xl_unet(embeds_size=True)
        other.load_state_dict(weights)
        return tiny_xl_model(other)

    def test_computes_the_same(self, model, embedding):
        cond = Conditioning(CAT["crossattn"][None], CAT["vector"][None, :POOLED], size=self.SIZE)
        wanted = model.apply_model(X, self.TIMESTEP, cond.cond)
        assert torch.equal(embedding.apply_model(X, self.TIMESTEP, cond), wanted)
        as_mapping = {"c_crossattn": [cond.tokens], "c_adm": cond.vector, "time_ids": cond.size}
        assert torch.equal(embedding.apply_model(X, self.TIMESTEP, as_mapping), wanted)

    def test_a_size_stays_exact_in_half_precision(self, unet, embedding):
        """2049 has no bfloat16: as one it would be 2048."""
        cond = Conditioning(CAT["crossattn"][None], CAT["vector"][None, :POOLED], size=self.SIZE)
        results = [
            in_half_precision(network).apply_model(X, self.TIMESTEP, cond)
            for network in (unet, embedding.network("denoiser"))
        ]
        assert torch.equal(*results)
        rounded = Conditioning(cond.tokens, cond.vector, size=self.SIZE.bfloat16())
        assert not torch.equal(in_half_precision(unet).apply_model(X, self.TIMESTEP, rounded), results[0])
        assert results[0].dtype == torch.float32

    def test_needs_the_size_apart(self, embedding):
        with pytest.raises(ConditioningError, match="needs 1544 numbers .*'time_ids'; here are 8"):
            embedding.apply_model(X, self.TIMESTEP, {"crossattn": CAT["crossattn"][None], "vector": torch.ones(1, 8)})


@pytest.mark.parametrize(
    ("more", "named"), [({"vector": torch.ones(1, 8)}, "'vector'"), ({"time_ids": torch.ones(1, 6)}, "'time_ids'")]
)
def test_sd1_has_no_place_for_more_than_text(sd_model, more, named):
    cond = {"c_crossattn": [sd_model.cond_stage_model_empty_prompt]} | more
    with pytest.raises(ConditioningError, match=f"no place for: {named}"):
        sd_model.apply_model(X, torch.tensor([400.0]), cond)
