"""A U-Net of diffusers in the layout of the original: `sd_model.model.diffusion_model`."""

import copy
import types

import pytest
import torch
from torch import nn

from modules import paths, torchvision_ops

torchvision_ops.declare_missing()
assert paths.packages_path, "the folder of ldm is on the path once modules.paths is imported"

from diffusers import UNet2DConditionModel  # noqa: E402
from diffusers.hooks import apply_group_offloading  # noqa: E402
from ldm.modules.attention import (  # noqa: E402
    BasicTransformerBlock,
    CrossAttention,
    MemoryEfficientCrossAttention,
    SpatialTransformer,
)
from ldm.modules.diffusionmodules.openaimodel import (  # noqa: E402
    Downsample,
    ResBlock,
    TimestepEmbedSequential,
    UNetModel,
    Upsample,
)

XL = {
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": (2, 4, 4),
    "use_linear_projection": True,
    "class_embed_type": "projection",
    "projection_class_embeddings_input_dim": 24,
}
SD2 = {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": (2, 4, 4, 4), "use_linear_projection": True}
FAMILIES = {
    "sd1": {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": 4},
    "sd1-inpainting": {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": 4, "in_channels": 9},
    "sd2": SD2,
    "sd2-inpainting": SD2 | {"in_channels": 9},
    "sd2-depth": SD2 | {"in_channels": 5},
    "sd2-unclip": SD2 | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 24},
    "sdxl": XL,
    "sdxl-inpainting": XL | {"in_channels": 9},
    "sdxl-instruct-pix2pix": XL | {"in_channels": 8},
    "refiner": XL
    | {
        "block_out_channels": (32, 64, 64, 64),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": 4,
        "attention_head_dim": (2, 4, 4, 4),
    },
    "ssd": XL
    | {
        "transformer_layers_per_block": (1, [2, 1], [1, 2]),
        "reverse_transformer_layers_per_block": [[2, 1, 1], [1, 1, 2], 1],
        "mid_block_type": "UNetMidBlock2D",
    },
    "vega": XL
    | {
        "transformer_layers_per_block": (1, (1, 1), (2, 2)),
        "reverse_transformer_layers_per_block": ((2, 2, 2), (1, 1, 1), 1),
        "mid_block_type": "UNetMidBlock2D",
    },
}


def network(name: str) -> UNet2DConditionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(norm_num_groups=8, cross_attention_dim=32, **FAMILIES[name])
    return unet.eval().requires_grad_(False)


def inputs(unet: UNet2DConditionModel, size: tuple[int, int] = (16, 8)) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, unet.config.in_channels, *size, generator=generator)
    y = torch.randn(2, 24, generator=generator) if unet.config.class_embed_type else None
    context = torch.randn(2, 77, 32, generator=generator)
    return {"x": x, "timesteps": torch.tensor([20.0, 500.5]), "context": context, "y": y}


def asked_of_diffusers(unet: UNet2DConditionModel, x, timesteps, context, y) -> torch.Tensor:
    return unet(x, timesteps, context, class_labels=y, return_dict=False)[0]


@pytest.fixture(scope="module")
def sd1() -> UNetModel:
    return UNetModel(network("sd1"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_computes_as_in_diffusers_bit_for_bit(name):
    unet = network(name)
    given = inputs(unet)
    expected = asked_of_diffusers(unet, **given)
    layout = UNetModel(unet)
    assert torch.equal(layout(**given), expected)
    assert torch.equal(asked_of_diffusers(unet, **given), expected), "diffusers' own way"
    assert {id(p) for p in layout.parameters()} == {id(p) for p in unet.parameters()}
    names = [name for name, _ in layout.named_parameters()]
    assert len(names) == len(set(names)) == len(list(unet.parameters()))


def test_all_sizes_can_be_computed(sd1):
    for size in ((9, 5), (1, 3), (16, 20)):
        assert sd1(**inputs(sd1.unet, size)).shape == (2, 4, *size)


def test_the_layout_is_the_originals(sd1):
    kinds = [[type(layer) for layer in block] for block in sd1.input_blocks]
    attending = [ResBlock, SpatialTransformer]
    assert kinds[1:] == [*([attending] * 2 + [[Downsample]]) * 3, [ResBlock], [ResBlock]]
    assert [type(layer) for layer in sd1.middle_block] == [ResBlock, SpatialTransformer, ResBlock]
    kinds = [[type(layer) for layer in block] for block in sd1.output_blocks]
    level = [attending, attending, [*attending, Upsample]]
    assert kinds == [[ResBlock], [ResBlock], [ResBlock, Upsample], *level, *level, *[attending] * 3]
    assert all(isinstance(block, TimestepEmbedSequential) for block in (*sd1.input_blocks, *sd1.output_blocks))
    block = sd1.middle_block[1].transformer_blocks[0]
    assert isinstance(block, BasicTransformerBlock) and not block.disable_self_attn
    for layer in (block.attn1, block.attn2):
        assert isinstance(layer, CrossAttention) and isinstance(layer, MemoryEfficientCrossAttention)
        assert (layer.heads, layer.scale) == (4, 16**-0.5)
        assert isinstance(layer.to_out, nn.Sequential)
    assert (sd1.model_channels, sd1.in_channels, sd1.channel_mult, sd1.num_classes) == (32, 4, (1, 2, 2, 2), None)


def test_names_of_weights_are_those_of_checkpoints(sd1):
    names = set(sd1.state_dict())
    for name in (
        "time_embed.0.weight",
        "input_blocks.0.0.weight",
        "input_blocks.1.0.in_layers.0.weight",
        "input_blocks.1.0.emb_layers.1.weight",
        "input_blocks.1.0.out_layers.3.weight",
        "input_blocks.3.0.op.weight",
        "input_blocks.4.0.skip_connection.weight",
        "middle_block.1.transformer_blocks.0.attn2.to_out.0.weight",
        "middle_block.1.transformer_blocks.0.ff.net.0.proj.weight",
        "output_blocks.2.1.conv.weight",
        "out.2.weight",
    ):
        assert name in names


@pytest.mark.parametrize(
    "path",
    [
        "",
        "time_embed",
        "input_blocks.0",
        "input_blocks.1",
        "input_blocks.1.0",
        "input_blocks.1.0.in_layers",
        "input_blocks.3.0",
        "middle_block",
        "middle_block.1",
        "middle_block.1.transformer_blocks.0",
        "middle_block.1.transformer_blocks.0.attn1",
        "middle_block.1.transformer_blocks.0.attn2",
        "middle_block.1.transformer_blocks.0.ff",
        "middle_block.1.transformer_blocks.0.attn2.to_k",
        "output_blocks.2.1",
        "out",
    ],
)
def test_what_an_extension_puts_in_the_place_of_forward_is_called(sd1, path):
    given = inputs(sd1.unet)
    expected = sd1(**given)
    module = sd1.get_submodule(path)
    original, calls = module.forward, []

    def forward(*args, **kwargs):
        calls.append((args, kwargs))
        return original(*args, **kwargs)

    module.forward = forward
    try:
        assert torch.equal(sd1(**given), expected)
        hook = module.register_forward_hook(lambda _, args, output: output * 0)
        assert not torch.equal(sd1(**given), expected)
        hook.remove()
    finally:
        del module.forward
    assert len(calls) >= 2
    assert torch.equal(sd1(**given), expected)


def test_layers_are_called_as_in_the_original(sd1):
    """With tokens as they are, the context by its name, and nothing else: own functions know no more arguments."""
    block = sd1.middle_block[1].transformer_blocks[0]
    seen = []

    def attention(self, x, context=None):
        seen.append(None if context is None else tuple(context.shape))
        return x

    def transformer(self, x, context=None):
        return x + self.attn2(self.attn1(x), context=context)

    block.attn1.forward = types.MethodType(attention, block.attn1)
    block.attn2.forward = types.MethodType(attention, block.attn2)
    sd1(**inputs(sd1.unet))
    asked_of_diffusers(sd1.unet, **inputs(sd1.unet))
    block._forward = types.MethodType(transformer, block)
    try:
        sd1(**inputs(sd1.unet))
    finally:
        del block._forward, block.attn1.forward, block.attn2.forward
    assert seen == [None, (2, 77, 32)] * 3


def test_a_class_can_be_changed(sd1, monkeypatch):
    expected = sd1(**inputs(sd1.unet))
    monkeypatch.setattr(CrossAttention, "forward", lambda self, x, context=None, mask=None: x * 0)
    monkeypatch.setattr(ResBlock, "forward", lambda self, x, emb: self._forward(x, emb) * 2)
    changed = sd1(**inputs(sd1.unet))
    monkeypatch.undo()
    assert not torch.equal(changed, expected)
    assert torch.equal(sd1(**inputs(sd1.unet)), expected)


def test_blocks_can_be_replaced(sd1):
    class Scaled(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, x, *args):
            return nn.functional.interpolate(self.block(x, *args), scale_factor=0.5)

    block = sd1.input_blocks[4]
    sd1.input_blocks[4] = Scaled(block)
    try:
        assert sd1(**inputs(sd1.unet)).shape == (2, 4, 16, 8)
    finally:
        sd1.input_blocks[4] = block


def test_a_copy_is_whole(sd1):
    other = copy.deepcopy(sd1)
    assert {id(p) for p in other.parameters()} == {id(p) for p in other.unet.parameters()}
    assert not {id(p) for p in other.parameters()} & {id(p) for p in sd1.parameters()}
    assert torch.equal(other(**inputs(other.unet)), sd1(**inputs(sd1.unet)))


def test_both_ways_are_moved_and_changed_together(sd1):
    layout = copy.deepcopy(sd1)
    layout.to(torch.float64)
    assert layout.unet.dtype == layout.dtype == torch.float64
    layout.unet.conv_in.weight.zero_()
    assert not layout.input_blocks[0][0].weight.any()
    layout.to("meta")
    assert layout.unet.device.type == "meta"


def test_blocks_can_take_turns_on_the_device(sd1):
    layout = copy.deepcopy(sd1)
    expected = layout(**inputs(layout.unet))
    device = torch.device("cpu")
    apply_group_offloading(layout, device, device, offload_type="block_level", num_blocks_per_group=1)
    assert torch.equal(layout(**inputs(layout.unet)), expected)


def test_what_diffusers_writes_is_as_before(tmp_path):
    unet = network("sd1")
    names = set(unet.state_dict())
    UNetModel(unet)
    unet.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path).eval()
    assert set(again.state_dict()) == names
    given = inputs(unet)
    assert torch.equal(asked_of_diffusers(again, **given), asked_of_diffusers(unet, **given))
