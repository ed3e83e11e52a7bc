"""The prompt tag <lora:name:te:unet:dyn>, also called lyco."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import networks

from modules import extra_networks, model_patches, shared
from modules.errors import InvalidInput
from modules.network_patches import KIND


@dataclass(frozen=True)
class TagSettings:
    """What the settings say of tags.

    everywhere: name of the network of all prompts, "None" for none. multiplier: its strength. writes_hashes: into the
    infotext.
    """

    everywhere: str
    multiplier: float
    writes_hashes: bool

    @classmethod
    def from_opts(cls, opts: Any) -> TagSettings:
        """Reads the settings as they are for the running job."""
        return cls(
            everywhere=opts.sd_lora,
            multiplier=opts.extra_networks_default_multiplier,
            writes_hashes=opts.lora_add_hashes_to_infotext,
        )


@dataclass(frozen=True)
class Tag:
    """What a tag asks for. te, unet: strengths for text encoders and U-Net; dyn: ranks to use, None for all."""

    name: str
    te: float
    unet: float
    dyn: int | None

    @classmethod
    def of(cls, params: extra_networks.ExtraNetworkParams) -> Tag:
        """Reads the arguments of a tag; those with names win. Raises InvalidInput for what is no number."""
        name, te, unet, dyn = [*map(str, params.positional), *[None] * 4][:4]
        if not name:
            raise InvalidInput("a lora tag names no network")
        te = number(name, params.named.get("te", te), 1.0)
        unet = number(name, params.named.get("unet", unet), te)
        dyn = params.named.get("dyn", dyn)
        return cls(name, te, unet, None if dyn is None else int(number(name, dyn, 0)))


def number(name: str, text: str | None, default: float) -> float:
    """Returns an argument of a tag, the default if it is missing. Raises InvalidInput for what is no number."""
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InvalidInput(f"<lora:{name}:...>: {text!r} is no number")
    return value


class ExtraNetworkLora(extra_networks.ExtraNetwork):
    """Makes the networks active that tags name, and the one of the setting sd_lora."""

    def __init__(self) -> None:
        super().__init__("lora")

    def activate(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> None:
        """Reads the named networks and wants them on the model of the job, whichever that becomes."""
        settings = TagSettings.from_opts(shared.opts)
        if settings.everywhere in networks.available_networks:
            params_list = extra_networks.add_to_all(p, self.name, settings.everywhere, settings.multiplier, params_list)
        tags = self._tags(p, params_list)
        networks.keep_following()
        networks.load_networks(
            [tag.name for tag in tags],
            [tag.te for tag in tags],
            [tag.unet for tag in tags],
            [tag.dyn for tag in tags],
        )
        patch = networks.active_patch()
        for remark in patch.remarks(shared.sd_model) if patch is not None else ():
            p.comment(remark)
        if settings.writes_hashes:
            note_hashes(p)

    def _tags(self, p: Any, params_list: list[extra_networks.ExtraNetworkParams]) -> list[Tag]:
        """Returns what tags ask for; one that cannot be understood is told to the job and left out."""
        tags = []
        for params in params_list:
            try:
                tags.append(Tag.of(params))
            except InvalidInput as e:
                p.comment(f"{e}: this tag is left out")
        return tags

    def text_key(self, params_list: list[extra_networks.ExtraNetworkParams]) -> Any:
        """Returns what the encoded text depends on of the networks that are active, whichever tags brought them."""
        patch = networks.active_patch()
        return patch.text_key(shared.sd_model) if patch is not None else None

    def deactivate(self, p: Any) -> None:
        """Wants no networks any more. The weights rest as they are, for the next job that wants the same."""
        networks.bundled.wish_for(())
        wishes = model_patches.wishes()
        wishes.take(networks.FOLLOWING)
        wishes.rest(KIND)


def note_hashes(p: Any) -> None:
    """Writes the hashes of the active networks into the infotext; in the hires pass beside those of the first."""
    if not getattr(p, "is_hr_pass", False) or not hasattr(p, "lora_hashes"):
        p.lora_hashes = {}
    for net in networks.loaded_networks:
        shorthash, name = net.network_on_disk.shorthash, net.mentioned_name
        if shorthash and name:
            p.lora_hashes[name.replace(":", "").replace(",", "")] = shorthash
    if p.lora_hashes:
        p.extra_generation_params["Lora hashes"] = ", ".join(
            f"{name}: {value}" for name, value in p.lora_hashes.items()
        )
