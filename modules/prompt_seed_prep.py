"""job: fixes the seeds of a run and lays out its prompts, one entry per image, before any hook is called."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modules.job.run_state import RunState

SEED_LIMIT = 4294967294
"""Random seeds are drawn from [0, SEED_LIMIT)."""


def get_fixed_seed(seed: Any) -> Any:
    """Turns "no seed" into a random one.

    None, "" and text that is no number count as -1, and -1 becomes a uniform integer in [0, SEED_LIMIT). Numeric text
    becomes an int; anything else, lists of seeds included, is returned as it is.
    """
    if seed is None or seed == "":
        seed = -1
    elif isinstance(seed, str):
        try:
            seed = int(seed)
        except ValueError:
            seed = -1
    return random.randrange(SEED_LIMIT) if seed == -1 else seed


def fix_seed(p: RunState) -> None:
    """Fixes `p.seed` and `p.subseed` in place, so that several jobs made from `p` share them."""
    p.seed = get_fixed_seed(p.seed)
    p.subseed = get_fixed_seed(p.subseed)


def prepare_prompt_seed_state(p: RunState) -> None:
    """Fills `p.all_prompts`, `p.all_negative_prompts` (through `p.setup_prompts()`), `p.all_seeds` and
    `p.all_subseeds`.

    A list of seeds is taken as it is. Otherwise image i gets `seed + i`, or the same seed as all others while a
    variation strength is set: then only the variation seed, always `subseed + i`, tells the images apart. `p.seed`
    and `p.subseed` keep what was asked for.
    """
    seed, subseed = get_fixed_seed(p.seed), get_fixed_seed(p.subseed)
    p.setup_prompts()
    count = len(p.all_prompts)
    seed_step = 1 if p.subseed_strength == 0 else 0
    p.all_seeds = seed if isinstance(seed, list) else [int(seed) + i * seed_step for i in range(count)]
    p.all_subseeds = subseed if isinstance(subseed, list) else [int(subseed) + i for i in range(count)]
