import warnings

import numpy as np
import pytest
import torch
import torchsde

from modules import rng_philox
from modules.sampling.noise import BrownianTreeNoiseSampler, place_centred, slerp
from test.unit.sampling_oracles import VECTORS

X = torch.zeros(2, 1, 3, 4)


@pytest.mark.parametrize("row", VECTORS["slerp"])
def test_slerp(row):
    low, high = (torch.tensor(row[key]).view(row["shape"]) for key in ("a", "b"))
    assert slerp(row["t"], low, high).flatten().tolist() == pytest.approx(row["out"], rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_noises_of_one_row_of_cells_have_a_mean(share):
    low, high = torch.tensor([[[1.0, -2.0, 3.0]]]), torch.tensor([[[2.0, 2.0, -1.0]]])
    assert torch.equal(slerp(share, low, high), low * (1 - share) + high * share)


@pytest.mark.parametrize(
    ("size", "canvas", "source", "target"),
    [
        ((2, 2), (4, 6), np.s_[:, 0:2, 0:2], np.s_[:, 1:3, 2:4]),
        ((4, 6), (2, 2), np.s_[:, 1:3, 2:4], np.s_[:, 0:2, 0:2]),
        ((3, 2), (2, 4), np.s_[:, 1:2, 0:2], np.s_[:, 0:1, 1:3]),
    ],
)
def test_noise_of_another_size_is_placed_in_the_middle(size, canvas, source, target):
    noise = torch.arange(float(size[0] * size[1])).view(1, *size) + 1
    placed = place_centred(noise, torch.zeros(1, *canvas))
    assert torch.equal(placed[target], noise[source])
    assert placed.count_nonzero() == noise[source].numel()


def torchsde_noise(seed, sigma, sigma_next):
    """What torchsde's tree gives for one image, drawn with its own generators."""
    tree = torchsde.BrownianTree(0.03, X[0], 14.6, entropy=seed)
    return (tree(sigma_next, sigma) * -1) / (sigma - sigma_next) ** 0.5


def test_each_image_has_the_path_of_its_seed():
    sampler = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[5, 6])
    for sigma, sigma_next in ((14.6, 7.25), (7.25, 0.5), (0.5, 0.03)):
        noise = sampler(torch.tensor(sigma), torch.tensor(sigma_next))
        for i, seed in enumerate((5, 6)):
            assert noise[i] == pytest.approx(torchsde_noise(seed, sigma, sigma_next), rel=1e-5)


def test_noise_does_not_depend_on_the_rest_of_the_batch():
    step = torch.tensor(14.6), torch.tensor(3.0)
    batch = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[5, 6])(*step)
    assert torch.equal(batch[1:], BrownianTreeNoiseSampler(X[:1], 0.03, 14.6, seed=[6])(*step))


def test_increments_add_up_whatever_the_order_of_the_steps():
    a, b, c = (torch.tensor(s) for s in (9.0, 4.0, 0.25))
    sampler = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[5, 6])
    second = sampler(b, c) * (b - c) ** 0.5
    first = sampler(a, b) * (a - b) ** 0.5
    assert sampler(a, c) * (a - c) ** 0.5 == pytest.approx(first + second, rel=1e-4, abs=1e-5)
    assert sampler(b, a) * (a - b) ** 0.5 == pytest.approx(-first, rel=1e-4, abs=1e-5)


def test_a_single_seed_gives_one_path_for_the_batch():
    noise = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=5)(torch.tensor(14.6), torch.tensor(3.0))
    assert noise.shape == X.shape
    assert not torch.equal(noise[0], noise[1])


def test_noise_is_unit_gaussian():
    sampler = BrownianTreeNoiseSampler(torch.zeros(1, 1, 100, 100), 0.03, 14.6, seed=[1])
    noise = sampler(torch.tensor(10.0), torch.tensor(2.0))
    assert float(noise.std()) == pytest.approx(1.0, rel=0.03)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.03)


def test_levels_just_outside_the_range_count_as_its_ends():
    sampler = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[5, 6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outside = sampler(torch.tensor(14.600002), torch.tensor(0.0299999))
    assert outside == pytest.approx(sampler(torch.tensor(14.6), torch.tensor(0.03)), rel=1e-5)


def test_steps_shorter_than_the_tree_tells_apart_get_no_noise():
    sampler = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[5, 6])
    same = sampler(torch.tensor(2.0), torch.tensor(2.0))
    assert torch.equal(same, X)
    one_path = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=5)
    assert torch.equal(one_path(torch.tensor(2.0000001), torch.tensor(2.0)), X)


def test_drawing_leaves_the_global_generator_alone_and_follows_the_source():
    torch.manual_seed(3)
    untouched = torch.randn(2)
    torch.manual_seed(3)

    def philox(seed, shape):
        return torch.asarray(rng_philox.Generator(seed).randn(shape))

    step = torch.tensor(9.0), torch.tensor(4.0)
    emulated = BrownianTreeNoiseSampler(X, 0.03, 14.6, [5, 6], philox)(*step)
    native = BrownianTreeNoiseSampler(X, 0.03, 14.6, [5, 6])(*step)
    assert not torch.equal(emulated, native)
    assert torch.equal(torch.randn(2), untouched)


def test_other_users_of_torchsde_keep_its_own_generators():
    before = torchsde_noise(5, 9.0, 4.0)
    BrownianTreeNoiseSampler(X, 0.03, 14.6, [5, 6], lambda seed, shape: torch.zeros(shape))
    assert torch.equal(torchsde_noise(5, 9.0, 4.0), before)


def test_negative_seeds_are_taken():
    noise = BrownianTreeNoiseSampler(X, 0.03, 14.6, seed=[-5, -6])(torch.tensor(9.0), torch.tensor(4.0))
    assert torch.isfinite(noise).all()
