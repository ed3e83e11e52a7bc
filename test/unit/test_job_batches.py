"""The batches of a run: how they begin, and what each has."""

import pytest
import torch

from modules import processing, sd_vae_approx, shared
from modules.job import batches, start


@pytest.fixture
def p(sd_model):
    """A job of five images in batches of two, ready to run."""
    made = processing.StableDiffusionProcessingTxt2Img(
        prompt=["a", "b", "c", "d", "e"], width=96, height=64, steps=2, sampler_name="Euler", batch_size=2, n_iter=3
    )
    start.resolve(made)
    made.setup_prompts()
    made.all_seeds, made.all_subseeds = [1, 2, 3, 4, 5], [11, 12, 13, 14, 15]
    shared.state.begin(job="test")
    yield made
    shared.state.interrupted = shared.state.stopping_generation = False
    shared.state.end()


def test_each_batch_has_its_part_of_the_lists(p):
    seen = [(n, p.iteration, p.prompts, p.seeds, p.subseeds) for n in batches.each(p)]
    assert seen == [
        (0, 0, ["a", "b"], [1, 2], [11, 12]),
        (1, 1, ["c", "d"], [3, 4], [13, 14]),
        (2, 2, ["e"], [5], [15]),
    ]
    assert shared.state.job_count == 3


def test_the_noise_is_that_of_the_seeds_and_the_size(p):
    noise = {n: p.rng.next() for n in batches.each(p)}
    assert [tuple(noise[n].shape) for n in noise] == [(2, 4, 8, 12), (2, 4, 8, 12), (1, 4, 8, 12)]
    alone = processing.create_random_tensors((4, 8, 12), [3])
    assert torch.equal(noise[1][0], alone[0])


@pytest.mark.parametrize("flag", ["interrupted", "stopping_generation"])
def test_nothing_begins_after_a_request_to_stop(p, flag):
    seen = []
    for n in batches.each(p):
        seen.append(n)
        setattr(shared.state, flag, True)
    assert seen == [0]


def test_a_batch_that_is_skipped_does_not_skip_the_next(p):
    for _ in batches.each(p):
        assert not shared.state.skipped
        shared.state.skipped = True


def test_the_run_is_prepared_once(p, monkeypatch):
    prepared = []
    monkeypatch.setattr(p, "init", lambda *lists: prepared.append(lists))
    monkeypatch.setattr(sd_vae_approx, "model", lambda: prepared.append("preview"))
    monkeypatch.setitem(shared.opts.data, "show_progress_type", "Approx NN")
    list(batches.each(p))
    assert prepared == [(p.all_prompts, p.all_seeds, p.all_subseeds), "preview"]


def test_without_scripts_the_batch_is_a_list_of_its_images(p):
    p.iteration, p.scripts_value = 0, None
    pixels = torch.rand(2, 3, 8, 8)
    assert torch.equal(torch.stack(batches.after_decoding(p, 0, pixels)), pixels)


def test_scripts_may_drop_images_and_see_the_prompts_as_asked(p):
    class Scripts:
        def postprocess_batch(self, p, images, batch_number):
            images.mul_(0)

        def postprocess_batch_list(self, p, pp, batch_number):
            assert p.prompts == ["c", "d"] and batch_number == 1
            del pp.images[0]

    p.scripts_value = Scripts()
    p.prompts = ["changed", "changed"]
    (image,) = batches.after_decoding(p, 1, torch.ones(2, 3, 8, 8))
    assert not image.any()


def test_hooks_are_told_of_the_batch(p):
    p.iteration = 1
    batches.take(p)
    assert batches.hook_arguments(p, 1) == {
        "batch_number": 1,
        "prompts": ["c", "d"],
        "seeds": [3, 4],
        "subseeds": [13, 14],
    }
