"""engine: random tensors from seeds, by the setting randn_source: GPU, CPU, or NV (Philox, as on an NVIDIA GPU).

ImageRNG gives the noise of a batch, one generator per image. The functions also seed torch's global generator, or the
global Philox one, because extensions draw from it and expect their pictures to be reproducible.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modules import devices, errors, rng_philox, shared
from modules.sampling.noise import place_centred, slerp

Generator = torch.Generator | rng_philox.Generator


class GlobalPhilox:
    """The Philox generator that stands beside torch's global one."""

    generator = rng_philox.Generator(0)


def create_generator(seed: int) -> Generator:
    """A generator of the chosen source. Raises InvalidInput for a seed that torch does not take."""
    if shared.opts.randn_source == "NV":
        return rng_philox.Generator(checked_seed(seed))
    return torch.Generator(_torch_source()).manual_seed(checked_seed(seed))


def posterior_generator(seed: int) -> torch.Generator:
    """The generator of the noise of a VAE's posterior, on the CPU whatever the chosen source. Raises as
    create_generator.
    """
    return torch.Generator().manual_seed(checked_seed(seed))


def checked_seed(seed: int) -> int:
    """Raises InvalidInput for a seed that torch does not take."""
    seed = int(seed)
    if not -(2**63) <= seed < 2**64:
        raise errors.InvalidInput(f"seed {seed} is out of range: it must fit into 64 bits", "seed")
    return seed


def manual_seed(seed: int) -> None:
    """Seeds the global generator of the chosen source; for CPU and GPU that is torch's."""
    if shared.opts.randn_source == "NV":
        GlobalPhilox.generator = rng_philox.Generator(int(seed))
    else:
        torch.manual_seed(int(seed))


def randn(seed: int, shape: Sequence[int], generator: Generator | None = None) -> Tensor:
    """Standard normal numbers of a seed, on the compute device; more of the same seed come from randn_without_seed.

    Draws from generator if given, but seeds the global one in any case.
    """
    manual_seed(seed)
    return randn_without_seed(shape, generator)


def randn_local(seed: int, shape: Sequence[int]) -> Tensor:
    """As randn, but leaves the global generator alone."""
    return randn_without_seed(shape, create_generator(seed))


def randn_like(x: Tensor) -> Tensor:
    """More standard normal numbers from the global generator, of the shape, type and device of x."""
    return randn_without_seed(x.shape).to(device=x.device, dtype=x.dtype)


def randn_without_seed(shape: Sequence[int], generator: Generator | None = None) -> Tensor:
    """More standard normal numbers from a generator, or from the global one, on the compute device."""
    if generator is None and shared.opts.randn_source == "NV":
        generator = GlobalPhilox.generator
    if isinstance(generator, rng_philox.Generator):
        return torch.asarray(generator.randn(shape), device=devices.device)
    source = _torch_source() if generator is None else generator.device
    return torch.randn(tuple(shape), device=source, generator=generator).to(devices.device)


def _torch_source() -> torch.device:
    """Where torch draws; MPS has no generator that repeats."""
    on_cpu = shared.opts.randn_source == "CPU" or devices.device.type == "mps"
    return devices.cpu if on_cpu else devices.device


class ImageRNG:
    """Noise for a batch of images: unit Gaussian (B, C, h, w) at each call of next().

    shape: (C, h, w) of one latent. seeds: one per image. The first noise is mixed with that of the subseeds by
    subseed_strength, and laid out as for a picture of seed_resize_from_h x seed_resize_from_w pixels if both are above
    0. After the first noise the setting eta_noise_seed_delta, if not 0, is added to all seeds.
    """

    def __init__(
        self,
        shape: Sequence[int],
        seeds: Sequence[int],
        subseeds: Sequence[int] | None = None,
        subseed_strength: float = 0.0,
        seed_resize_from_h: int = 0,
        seed_resize_from_w: int = 0,
    ):
        self.shape = tuple(map(int, shape))
        self.seeds = seeds
        self.subseeds = subseeds
        self.subseed_strength = subseed_strength
        self.seed_resize_from_h = seed_resize_from_h
        self.seed_resize_from_w = seed_resize_from_w
        self.generators = [create_generator(seed) for seed in seeds]
        self.is_first = True

    def first(self) -> Tensor:
        """The noise a picture starts from."""
        noise = torch.stack([self._first_of(i) for i in range(len(self.seeds))])
        delta = shared.opts.eta_noise_seed_delta
        if delta:
            self.generators = [create_generator(seed + delta) for seed in self.seeds]
        return noise

    def next(self) -> Tensor:
        """New noise; the first call gives that of first()."""
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
        """Shape of the latent for which the noise is laid out."""
        if self.seed_resize_from_h <= 0 or self.seed_resize_from_w <= 0:
            return self.shape
        return (self.shape[0], int(self.seed_resize_from_h) // 8, int(self.seed_resize_from_w) // 8)
