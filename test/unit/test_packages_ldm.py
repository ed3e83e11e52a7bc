"""The packages ldm and sgm as extensions import them."""

import importlib

import numpy as np
import pytest
import torch
from torch import nn

from modules import cpu_layers, paths, sd_hijack_unet, sd_models_types, sd_models_xl, text_encoders

NAMES = {
    "attention": "BasicTransformerBlock CrossAttention FeedForward MemoryEfficientCrossAttention SpatialTransformer",
    "diffusionmodules.openaimodel": (
        "Downsample ResBlock SpatialTransformer TimestepBlock TimestepEmbedSequential UNetModel Upsample conv_nd "
        "exists linear th timestep_embedding zero_module"
    ),
    "diffusionmodules.model": "AttnBlock Decoder Encoder MemoryEfficientAttnBlock ResnetBlock",
    "diffusionmodules.util": (
        "extract_into_tensor make_beta_schedule make_ddim_sampling_parameters noise_like timestep_embedding"
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_sgm_has_the_modules_of_ldm(name):
    assert paths.packages_path
    module = importlib.import_module(f"ldm.modules.{name}")
    assert importlib.import_module(f"sgm.modules.{name}") is module
    for member in NAMES[name].split():
        assert hasattr(module, member)


def test_what_is_the_program_itself():
    from ldm.models.diffusion.ddim import DDIMSampler
    from ldm.models.diffusion.ddpm import LatentDiffusion
    from ldm.modules.diffusionmodules import openaimodel
    from ldm.modules.encoders.modules import FrozenCLIPEmbedder, FrozenOpenCLIPEmbedder
    from sgm.modules import GeneralConditioner

    assert LatentDiffusion is sd_models_types.WebuiSdModel
    assert GeneralConditioner is sd_models_xl.GeneralConditioner
    assert issubclass(FrozenOpenCLIPEmbedder, FrozenCLIPEmbedder)
    assert issubclass(FrozenCLIPEmbedder, text_encoders.TextNetwork)
    assert openaimodel.th is sd_hijack_unet.th
    with pytest.raises(NotImplementedError, match=r"modules\.sampling\.ddim"):
        DDIMSampler(None).p_sample_ddim()


def test_what_nobody_has_counted_is_missing():
    with pytest.raises(ImportError):
        importlib.import_module("ldm.models.autoencoder")


def test_timesteps_are_embedded_as_cosines_and_sines():
    from ldm.modules.diffusionmodules.util import timestep_embedding

    found = timestep_embedding(torch.tensor([0.0, 2.0]), 4)
    angles = [2.0, 2.0 * 10000**-0.5]
    expected = [[1, 1, 0, 0], [*np.cos(angles), *np.sin(angles)]]
    assert found.numpy() == pytest.approx(np.array(expected), abs=1e-6)
    assert timestep_embedding(torch.tensor([3.0]), 2, repeat_only=True).tolist() == [[3, 3]]


def test_schedules_of_noise():
    from ldm.modules.diffusionmodules.util import make_beta_schedule, make_ddim_sampling_parameters

    betas = make_beta_schedule("linear", 1000, 0.00085, 0.012)
    assert betas[[0, -1]] == pytest.approx([0.00085, 0.012])
    assert np.sqrt(betas)[500] == pytest.approx(np.sqrt(0.00085) + 500 / 999 * (np.sqrt(0.012) - np.sqrt(0.00085)))
    assert make_beta_schedule("sqrt_linear", 3, 0.1, 0.3) == pytest.approx([0.1, 0.2, 0.3])
    assert make_beta_schedule("cosine", 1000)[-1] == 0.999
    with pytest.raises(ValueError, match="'cosine'"):
        make_beta_schedule("other", 3)

    alphas = np.cumprod(1 - betas)
    sigmas, now, before = make_ddim_sampling_parameters(alphas, np.array([1, 501]), eta=1.0)
    assert (now.tolist(), before.tolist()) == ([alphas[1], alphas[501]], [alphas[0], alphas[1]])
    posterior = (1 - before[1]) / (1 - now[1]) * (1 - now[1] / before[1])
    assert sigmas[1] == pytest.approx(posterior**0.5)


def test_values_of_a_table_at_timesteps():
    from ldm.models.diffusion.ddpm import extract_into_tensor

    found = extract_into_tensor(torch.arange(10.0), torch.tensor([3, 7]), torch.Size((2, 4, 8, 8)))
    assert found.shape == (2, 1, 1, 1)
    assert found.flatten().tolist() == [3, 7]


def test_extensions_build_networks_of_the_classes():
    """A control network begins so: an encoder of residual blocks with a context, and convolutions of zeros."""
    from sgm.modules.diffusionmodules.openaimodel import (
        Downsample,
        ResBlock,
        SpatialTransformer,
        TimestepEmbedSequential,
        conv_nd,
        zero_module,
    )

    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = nn.ModuleList(
            [
                TimestepEmbedSequential(conv_nd(2, 4, 32, 3, padding=1)),
                TimestepEmbedSequential(
                    ResBlock(32, 128, 0, out_channels=64, dims=2, use_checkpoint=False, use_scale_shift_norm=False),
                    SpatialTransformer(64, 4, 16, depth=2, context_dim=48, use_linear=True, use_checkpoint=False),
                ),
                TimestepEmbedSequential(Downsample(64, True, dims=2, out_channels=64)),
            ]
        ).eval()
        zero = zero_module(conv_nd(2, 64, 64, 1))
        x, emb, context = torch.randn(2, 4, 8, 8), torch.randn(2, 128), torch.randn(2, 7, 48)
    names = set(blocks.state_dict())
    assert {"1.0.in_layers.2.weight", "1.0.skip_connection.weight", "1.1.proj_in.weight", "2.0.op.bias"} <= names
    assert "1.1.transformer_blocks.1.attn2.to_out.0.weight" in names
    with torch.no_grad():
        for block in blocks:
            x = block(x, emb, context)
        assert x.shape == (2, 64, 4, 4)
        assert not zero(x).any()
        assert x.isfinite().all()
        without = blocks[1](blocks[0](torch.ones(2, 4, 8, 8), emb), emb, context * 0)
        assert not torch.allclose(blocks[1](blocks[0](torch.ones(2, 4, 8, 8), emb), emb, context), without)
    with pytest.raises(ValueError, match="use_scale_shift_norm"):
        ResBlock(32, 128, 0, use_scale_shift_norm=True)
    with pytest.raises(ValueError, match="dims is 1"):
        Downsample(32, True, dims=1)


@pytest.mark.parametrize("size", [(4, 4), (9, 13), (32, 40)])
def test_projections_of_a_transformer_are_layers_whose_hooks_count(size):
    """Computed as products with tokens, they do what torch's convolutions do; one with a hook is called."""
    from ldm.modules.attention import SpatialTransformer

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        transformer = SpatialTransformer(64, 4, 16, context_dim=48).eval()
        x, context = torch.randn(3, 64, *size), torch.randn(3, 7, 48)
        made = transformer(x, context)
        assert made.is_contiguous()
        with cpu_layers.left_out():
            torch.testing.assert_close(made, transformer(x, context), atol=1e-5, rtol=1e-5)
        for layer in (transformer.proj_in, transformer.proj_out):
            handle = layer.register_forward_hook(lambda layer, args, output: output * 2)
            assert not torch.allclose(transformer(x, context), made, atol=1e-2)
            handle.remove()
            torch.testing.assert_close(transformer(x, context), made, atol=1e-5, rtol=1e-5)
        seen = set()
        every = nn.modules.module.register_module_forward_hook(lambda layer, args, output: seen.add(layer))
        transformer(x, context)
        every.remove()
        assert {transformer.proj_in, transformer.proj_out} <= seen
        transformer.proj_in = nn.Conv2d(64, 64, 3, padding=1)
        assert transformer(x, context).shape == x.shape


@pytest.fixture(scope="module")
def vae():
    from diffusers import AutoencoderKL
    from ldm.modules.diffusionmodules.model import adopt

    from modules.sd_hijack_optimizations import use_selected_attention

    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(
            block_out_channels=(32, 64),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=2,
        )
    names = set(vae.state_dict())
    adopt(vae)
    use_selected_attention(vae)
    assert set(vae.state_dict()) == names
    return vae.eval().requires_grad_(False)


def test_a_decoder_can_be_walked_as_the_original(vae):
    decoder = vae.decoder
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    h = decoder.conv_in(vae.post_quant_conv(z))
    h = decoder.mid.block_2(decoder.mid.attn_1(decoder.mid.block_1(h, None)), None)
    for i in reversed(range(decoder.num_resolutions)):
        for j in range(decoder.num_res_blocks + 1):
            h = decoder.up[i].block[j](h, None)
        assert not decoder.up[i].attn
        if i:
            h = decoder.up[i].upsample(h)
    assert not hasattr(decoder.up[0], "upsample")
    h = decoder.conv_out(nn.functional.silu(decoder.norm_out(h)))
    assert torch.equal(h, vae.decode(z).sample)


def test_an_encoder_can_be_walked_as_the_original(vae):
    encoder = vae.encoder
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    h = encoder.conv_in(pixels)
    for i in range(encoder.num_resolutions):
        for j in range(encoder.num_res_blocks):
            block = encoder.down[i].block[j]
            assert (block.nin_shortcut is None) == (block.in_channels == block.out_channels)
            h = block(h, None)
        if i < encoder.num_resolutions - 1:
            h = encoder.down[i].downsample(h)
    assert not hasattr(encoder.down[1], "downsample")
    h = encoder.mid.block_2(encoder.mid.attn_1(encoder.mid.block_1(h, None)), None)
    h = vae.quant_conv(encoder.conv_out(nn.functional.silu(encoder.norm_out(h))))
    assert torch.equal(h[:, :4], vae.encode(pixels).latent_dist.mean)


def test_attention_of_a_vae_has_convolutions_of_one_pixel(vae):
    attention = vae.decoder.mid.attn_1
    x = torch.randn(1, 64, 4, 4, generator=torch.Generator().manual_seed(1))
    h = attention.norm(x)
    q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (attention.q, attention.k, attention.v))
    h = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attention.proj_out(h) + x, attention(x))
    assert attention.q.weight.shape == (64, 64, 1, 1)
    as_convolution = nn.functional.conv2d(x, attention.v.weight, attention.v.bias)
    torch.testing.assert_close(attention.v(x), as_convolution)


def test_what_is_put_in_the_place_of_a_part_of_a_vae_is_called(vae):
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    expected, attention = vae.decode(z).sample, vae.decoder.mid.attn_1
    original = attention.forward
    attention.forward = lambda x: original(x) * 0.5
    try:
        assert not torch.equal(vae.decode(z).sample, expected)
    finally:
        del attention.forward
    assert torch.equal(vae.decode(z).sample, expected)
