"""Checkpoint files for tests, made from the embedded one by changing its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from modules.checkpoints import embedded_checkpoint

INPUT_CONVOLUTION = "model.diffusion_model.input_blocks.0.0.weight"

Change = Callable[[dict[str, torch.Tensor]], object]


def embedded_weights() -> dict[str, torch.Tensor]:
    """The weights of the embedded checkpoint."""
    return load_file(embedded_checkpoint)


def write_checkpoint(path: Path, change: Change | None = None, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes the embedded checkpoint under another name, with its dictionary of weights changed in place."""
    weights = embedded_weights()
    if change is not None:
        change(weights)
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path, dict(metadata or {}))
    else:
        torch.save({"state_dict": weights, "epoch": 3}, path)
    return path


def with_input_channels(channels: int) -> Change:
    """Makes the U-Net take more channels than a latent has; it gives the new ones no weight."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        old = weights[INPUT_CONVOLUTION]
        weights[INPUT_CONVOLUTION] = torch.zeros(old.shape[0], channels, 3, 3, dtype=old.dtype)
        weights[INPUT_CONVOLUTION][:, :4] = old

    return change


def vae_weights() -> dict[str, torch.Tensor]:
    """The weights of the embedded checkpoint's VAE, as a file of its own has them."""
    prefix = "first_stage_model."
    return {k.removeprefix(prefix): v.contiguous() for k, v in embedded_weights().items() if k.startswith(prefix)}


@dataclass(frozen=True)
class UnetLayout:
    """A U-Net in the original layout: channels of its levels, and transformer blocks after each residual one.

    encoder, decoder: per level, the decoder's coarsest first. middle: 0 for a middle of one residual block. label:
    width of the vector that joins the timestep. linear: projections of attention layers are no convolutions.
    """

    widths: tuple[int, ...]
    encoder: tuple[tuple[int, ...], ...]
    decoder: tuple[tuple[int, ...], ...]
    middle: int
    text: int = 128
    label: int | None = None
    linear: bool = False

    def weights(self) -> dict[str, torch.Tensor]:
        """Random weights."""
        writer = UnetWriter(self)
        writer.write()
        return writer.weights


SD15 = UnetLayout(
    widths=(32, 64, 128, 128),
    encoder=((1, 1), (1, 1), (1, 1), (0, 0)),
    decoder=((0, 0, 0), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    middle=1,
)
"""As Stable Diffusion 1.5, with other widths: four levels, no attention in the last."""

SDXL = UnetLayout(
    widths=(32, 64, 128),
    encoder=((0, 0), (2, 2), (3, 3)),
    decoder=((3, 3, 3), (2, 2, 2), (0, 0, 0)),
    middle=3,
    text=96,
    label=20 + 6 * 8,
    linear=True,
)
"""As Stable Diffusion XL, smaller: deeper where it is coarser, and a vector of pooled text and sizes."""

SSD = UnetLayout(
    widths=(32, 64, 128),
    encoder=((0, 0), (2, 2), (3, 3)),
    decoder=((3, 3, 5), (2, 1, 1), (0, 0, 0)),
    middle=0,
    text=96,
    label=20 + 6 * 8,
    linear=True,
)
"""As SSD-1B, smaller: Stable Diffusion XL with transformer blocks taken out here and there, in the middle all."""


class UnetWriter:
    """Fills `weights` with those of a layout, under their keys in a checkpoint."""

    def __init__(self, layout: UnetLayout):
        self.layout = layout
        self.time = 4 * layout.widths[0]
        self.weights: dict[str, torch.Tensor] = {}

    def add(self, name: str, *shape: int, bias: bool = True) -> None:
        self.weights[f"model.diffusion_model.{name}.weight"] = torch.randn(shape) * 0.05
        if bias:
            self.weights[f"model.diffusion_model.{name}.bias"] = torch.zeros(shape[0])

    def resnet(self, name: str, before: int, after: int) -> None:
        self.add(f"{name}.in_layers.0", before)
        self.add(f"{name}.in_layers.2", after, before, 3, 3)
        self.add(f"{name}.emb_layers.1", after, self.time)
        self.add(f"{name}.out_layers.0", after)
        self.add(f"{name}.out_layers.3", after, after, 3, 3)
        if before != after:
            self.add(f"{name}.skip_connection", after, before, 1, 1)

    def transformer(self, name: str, width: int, depth: int) -> None:
        if not depth:
            return
        kernel = () if self.layout.linear else (1, 1)
        self.add(f"{name}.norm", width)
        self.add(f"{name}.proj_in", width, width, *kernel)
        self.add(f"{name}.proj_out", width, width, *kernel)
        for n in range(depth):
            block = f"{name}.transformer_blocks.{n}"
            for attention, context in (("attn1", width), ("attn2", self.layout.text)):
                self.add(f"{block}.{attention}.to_q", width, width, bias=False)
                self.add(f"{block}.{attention}.to_k", width, context, bias=False)
                self.add(f"{block}.{attention}.to_v", width, context, bias=False)
                self.add(f"{block}.{attention}.to_out.0", width, width)
            self.add(f"{block}.ff.net.0.proj", 8 * width, width)
            self.add(f"{block}.ff.net.2", width, 4 * width)
            for i in (1, 2, 3):
                self.add(f"{block}.norm{i}", width)

    def write(self) -> None:
        widths = self.layout.widths
        self.add("time_embed.0", self.time, widths[0])
        self.add("time_embed.2", self.time, self.time)
        if self.layout.label:
            self.add("label_emb.0.0", self.time, self.layout.label)
            self.add("label_emb.0.2", self.time, self.time)
        self.add("input_blocks.0.0", widths[0], 4, 3, 3)
        skips = self.write_encoder()
        self.resnet("middle_block.0", widths[-1], widths[-1])
        if self.layout.middle:
            self.transformer("middle_block.1", widths[-1], self.layout.middle)
            self.resnet("middle_block.2", widths[-1], widths[-1])
        self.write_decoder(skips)
        self.add("out.0", widths[0])
        self.add("out.2", 4, widths[0], 3, 3)

    def write_encoder(self) -> list[int]:
        """Channels of the maps that the decoder is joined to."""
        width, block = self.layout.widths[0], 1
        skips = [width]
        for level, (after, depths) in enumerate(zip(self.layout.widths, self.layout.encoder, strict=True)):
            for depth in depths:
                self.resnet(f"input_blocks.{block}.0", width, after)
                self.transformer(f"input_blocks.{block}.1", after, depth)
                width = after
                skips.append(width)
                block += 1
            if level != len(self.layout.widths) - 1:
                self.add(f"input_blocks.{block}.0.op", width, width, 3, 3)
                skips.append(width)
                block += 1
        return skips

    def write_decoder(self, skips: list[int]) -> None:
        width, block = self.layout.widths[-1], 0
        levels = list(zip(reversed(self.layout.widths), self.layout.decoder, strict=True))
        for level, (after, depths) in enumerate(levels):
            for i, depth in enumerate(depths):
                self.resnet(f"output_blocks.{block}.0", width + skips.pop(), after)
                self.transformer(f"output_blocks.{block}.1", after, depth)
                width = after
                if i == len(depths) - 1 and level != len(levels) - 1:
                    self.add(f"output_blocks.{block}.{2 if depth else 1}.conv", width, width, 3, 3)
                block += 1


def write_t5_vocabulary(models_folder, prompt):
    """Writes a small vocabulary of T5's kind, with the words of a prompt, where the program looks for it, and returns
    it.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *(f"\u2581{word}" for word in prompt.replace(",", " ,").split())]
    letters = [(piece, -1.0) for piece in dict.fromkeys([*pieces, *"abcdefghijklmnopqrstuvwxyz,BREAK"])]
    tokenizer = Tokenizer(models.Unigram(letters, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    folder = Path(models_folder) / "text_encoder" / "t5-tokenizer"
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer
