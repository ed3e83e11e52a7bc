"""engine: random tensors from seeds, by the setting randn_source: GPU, CPU, or NV (Philox, as on an NVIDIA GPU).

ImageRNG gives the noise of a batch, one generator per image. The functions also seed torch's global generator, or the
global Philox one, because extensions draw from it and expect their images to be reproducible.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules import devices, errors, rng_philox, shared
from modules.options import OptionValues
from modules.sampling.noise import place_centred, slerp
from modules.uploads import upload

Generator = torch.Generator | rng_philox.Generator


@dataclass(frozen=True)
class NoiseSettings(OptionValues):
    """Where noise comes from. The names are those of the options."""

    eta_noise_seed_delta: int
    randn_source: str

    @property
    def is_philox(self) -> bool:
        """Whether numbers are those of an NVIDIA GPU, computed on the CPU."""
        return self.randn_source == "NV"

    @property
    def torch_device(self) -> torch.device:
        """Where torch draws; MPS has no generator that repeats."""
        on_cpu = self.randn_source == "CPU" or devices.device.type == "mps"
        return devices.cpu if on_cpu else devices.device

    def generator(self, seed: int) -> Generator:
        """Returns a generator of the chosen source. Raises InvalidInput for a seed that torch does not take."""
        if self.is_philox:
            return rng_philox.Generator(checked_seed(seed))
        return torch.Generator(self.torch_device).manual_seed(checked_seed(seed))


class GlobalPhilox:
    """The Philox generator that stands beside torch's global one."""

    generator = rng_philox.Generator(0)


def create_generator(seed: int) -> Generator:
    """Returns a generator of the chosen source. Raises InvalidInput for a seed that torch does not take."""
    return NoiseSettings.from_opts(shared.opts).generator(seed)


def posterior_generator(seed: int) -> torch.Generator:
    """Returns the generator of the noise of a VAE's posterior, on the CPU whatever the chosen source.

    Raises as create_generator.
    """
    return torch.Generator().manual_seed(checked_seed(seed))


def checked_seed(seed: int) -> int:
    """Returns a seed as a number. Raises InvalidInput for one that torch does not take."""
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise errors.InvalidInput(f"seed {seed} is out of range: it must fit into 64 bits", "seed")
    return seed


def manual_seed(seed: int) -> None:
    """Seeds the global generator of the chosen source; for CPU and GPU that is torch's."""
    if NoiseSettings.from_opts(shared.opts).is_philox:
        GlobalPhilox.generator = rng_philox.Generator(int(seed))
    else:
        seed_torch(int(seed))


@functools.cache
def has_accelerator() -> bool:
    """Says whether torch has a device besides the CPU."""
    return torch.accelerator.is_available()


def seed_torch(seed: int) -> None:
    """Seeds torch's global generators, those that there are.

    On a machine without a GPU `torch.manual_seed` notes each time where it was called from, for the day that there is.
    """
    if has_accelerator():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def randn(seed: int, shape: Sequence[int], generator: Generator | None = None) -> Tensor:
    """Returns standard normal numbers of a seed, on the compute device. More of it come from randn_without_seed.

    Draws from generator if given, but seeds the global one in any case.
    """
    manual_seed(seed)
    return randn_without_seed(shape, generator)


def randn_local(seed: int, shape: Sequence[int]) -> Tensor:
    """Returns the numbers that randn does, but leaves the global generator alone."""
    return randn_without_seed(shape, create_generator(seed))


def randn_like(x: Tensor) -> Tensor:
    """Returns more standard normal numbers from the global generator, of the shape, type and device of x."""
    return randn_without_seed(x.shape).to(device=x.device, dtype=x.dtype)


def randn_without_seed(shape: Sequence[int], generator: Generator | None = None) -> Tensor:
    """Returns more standard normal numbers from a generator, or from the global one, on the compute device."""
    if generator is None:
        settings = NoiseSettings.from_opts(shared.opts)
        if not settings.is_philox:
            return upload(torch.randn(tuple(shape), device=settings.torch_device), devices.device)
        generator = GlobalPhilox.generator
    if isinstance(generator, rng_philox.Generator):
        return upload(torch.asarray(generator.randn(shape)), devices.device)
    return upload(torch.randn(tuple(shape), device=generator.device, generator=generator), devices.device)


class ImageRNG:
    """Noise for a batch of images: unit Gaussian (B, C, h, w) at each call of next().

    shape: (C, h, w) of one latent. seeds: one per image. The first noise is mixed with that of the subseeds by
    subseed_strength, and laid out as for an image of seed_resize_from_h x seed_resize_from_w pixels if both are above
    0. downscale: pixels per latent cell and side. After the first noise the setting eta_noise_seed_delta, if not 0, is
    added to all seeds.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
        seed_resize_from_h: int = 0,
        seed_resize_from_w: int = 0,
        downscale: int = 8,
    ):
        self.shape = tuple(map(int, shape))
        self.seeds = seeds
        self.subseeds = subseeds
        self.subseed_strength = subseed_strength
        self.seed_resize_from_h = seed_resize_from_h
        self.seed_resize_from_w = seed_resize_from_w
        self.downscale = downscale
        self.settings = NoiseSettings.from_opts(shared.opts)
        self.generators = [self.settings.generator(seed) for seed in seeds]
        self.is_first = True

    def first(self) -> Tensor:
        """Returns the noise that images start from."""
        noise = torch.stack([self._first_of(i) for i in range(len(self.seeds))])
        delta = self.settings.eta_noise_seed_delta
        if delta:
            self.generators = [self.settings.generator(seed + delta) for seed in self.seeds]
        return noise

    def next(self) -> Tensor:
        """Returns new noise; the first call gives that of first()."""
        if self.is_first:
            self.is_first = False
            return self.first()
        return torch.stack([randn_without_seed(self.shape, generator) for generator in self.generators])

    def _first_of(self, i: int) -> Tensor:
        shape = self._original_shape()
        if self.subseed_strength != 0:
            has_subseed = self.subseeds is not None and i < len(self.subseeds)
            subnoise = randn(self.subseeds[i] if has_subseed else 0, shape)
        resized = shape != self.shape
        noise = randn(self.seeds[i], shape, None if resized else self.generators[i])
        if self.subseed_strength != 0:
            noise = slerp(self.subseed_strength, noise, subnoise)
        return place_centred(noise, randn(self.seeds[i], self.shape, self.generators[i])) if resized else noise

    def _original_shape(self) -> tuple[int, ...]:
        """Returns the shape of the latent for which the noise is laid out."""
        if self.seed_resize_from_h <= 0 or self.seed_resize_from_w <= 0:
            return self.shape
        sides = (int(self.seed_resize_from_h), int(self.seed_resize_from_w))
        return (self.shape[0], *(side // self.downscale for side in sides))
