import pytest
import torch

from modules import devices, errors, rng, rng_philox, shared
from test.unit.sampling_oracles import VECTORS


@pytest.fixture
def source():
    """source("NV") sets the setting randn_source for the test."""
    saved = dict(shared.opts.data)
    yield lambda name, ensd=0: shared.opts.data.update(randn_source=name, eta_noise_seed_delta=ensd)
    shared.opts.data.clear()
    shared.opts.data.update(saved)


@pytest.mark.parametrize("row", VECTORS["image_rng"], ids=lambda row: f"{row['source']} {row['seeds']} {row['shape']}")
def test_noise_is_the_golden_one(row, source):
    source(row["source"], row["ensd"])
    generator = rng.ImageRNG(
        row["shape"],
        row["seeds"],
        row.get("subseeds"),
        row.get("subseed_strength", 0.0),
        row.get("seed_resize_from_h", 0),
        row.get("seed_resize_from_w", 0),
    )
    first, second = generator.next(), generator.next()
    assert first.shape == (len(row["seeds"]), *row["shape"])
    assert first.flatten().tolist() == pytest.approx(row["first"], rel=1e-5)
    assert second.flatten().tolist() == pytest.approx(row["second"], rel=1e-5)


@pytest.mark.parametrize("name", ["CPU", "GPU", "NV"])
def test_an_image_has_the_same_noise_in_any_batch(name, source):
    source(name)
    together, alone = rng.ImageRNG((4, 2, 2), [1, 2]), rng.ImageRNG((4, 2, 2), [2])
    for _ in range(3):
        assert torch.equal(together.next()[1:], alone.next())


def test_noise_is_laid_out_in_cells_of_the_latent(source):
    source("NV")
    coarse = rng.ImageRNG((4, 4, 4), [1], seed_resize_from_h=96, seed_resize_from_w=64, downscale=16)
    fine = rng.ImageRNG((4, 4, 4), [1], seed_resize_from_h=48, seed_resize_from_w=32)
    assert torch.equal(coarse.next(), fine.next())
    assert not torch.equal(fine.next(), rng.ImageRNG((4, 4, 4), [1]).next())


@pytest.mark.parametrize("name", ["CPU", "NV"])
def test_the_first_noise_seeds_the_global_generator(name, source):
    source(name)
    rng.ImageRNG((4, 2, 2), [1, 2]).next()
    numbers = rng.randn_like(torch.zeros(3, dtype=torch.float64))
    assert numbers.dtype == torch.float64
    rng.manual_seed(2)
    if name == "NV":
        rng.randn_without_seed((1,))
        assert numbers.tolist() != rng.randn_without_seed((3,)).tolist()
    else:
        assert numbers.tolist() == rng.randn_without_seed((3,)).tolist()


@pytest.mark.parametrize("name", ["CPU", "NV"])
def test_randn_seeds_and_goes_on(name, source):
    source(name)
    first = rng.randn(5, (2, 3))
    more = rng.randn_without_seed((2, 3))
    assert torch.equal(rng.randn(5, (2, 3)), first)
    assert torch.equal(rng.randn_without_seed((2, 3)), more)
    assert not torch.equal(first, more)


def test_randn_local_leaves_the_global_generator_alone(source):
    source("CPU")
    rng.manual_seed(3)
    local = rng.randn_local(5, (2,))
    untouched = rng.randn_without_seed((2,))
    assert torch.equal(rng.randn(5, (2,)), local)
    assert torch.equal(rng.randn(3, (2,)), untouched)


@pytest.mark.parametrize("name", ["CPU", "NV"])
def test_seeds_beyond_64_bits_are_refused(name, source):
    source(name)
    with pytest.raises(errors.InvalidInput, match="64 bits") as caught:
        rng.ImageRNG((4, 2, 2), [2**64])
    assert caught.value.field == "seed"


def test_missing_subseeds_count_as_0(source):
    source("CPU")
    missing = rng.ImageRNG((4, 2, 2), [1], None, 0.5).next()
    assert torch.equal(missing, rng.ImageRNG((4, 2, 2), [1], [0], 0.5).next())


def test_a_jobs_own_source_and_delta_hold_for_its_noise(source):
    source("CPU")
    plain = rng.ImageRNG((4, 2, 2), [1])
    with shared.opts.overlay({"randn_source": "NV", "eta_noise_seed_delta": 3}):
        overridden = rng.ImageRNG((4, 2, 2), [1])
    assert isinstance(plain.generators[0], torch.Generator)
    assert isinstance(overridden.generators[0], rng_philox.Generator)
    overridden.next()
    assert torch.equal(overridden.next(), torch.asarray(rng_philox.Generator(4).randn((4, 2, 2)))[None])


def test_torch_draws_on_the_device_or_where_numbers_repeat(source, monkeypatch):
    monkeypatch.setattr(devices, "device", torch.device("meta"))
    places = {}
    for name in ("CPU", "GPU"):
        source(name)
        places[name] = rng.NoiseSettings.from_opts(shared.opts).torch_device.type
    assert places == {"CPU": "cpu", "GPU": "meta"}
    monkeypatch.setattr(devices, "device", torch.device("mps"))
    assert rng.NoiseSettings.from_opts(shared.opts).torch_device == devices.cpu


def test_noise_of_the_posterior_is_torchs_whatever_the_source(source):
    numbers = []
    for name in ("CPU", "NV"):
        source(name)
        numbers.append(torch.randn(3, generator=rng.posterior_generator(7)).tolist())
    assert numbers[0] == numbers[1]
    with pytest.raises(errors.InvalidInput):
        rng.posterior_generator(-(2**63) - 1)
