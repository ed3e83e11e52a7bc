"""Pixels to latents and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from modules import devices, errors, latents, sd_models, shared
from modules.model_families import SD1


@pytest.fixture(scope="module")
def model():
    sd_models.setup_model()
    return shared.sd_model


@pytest.fixture
def latent():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def restored(model):
    """Puts the VAE and its type back."""
    dtype = model.placement.dtype_vae
    state = {key: value.clone() for key, value in model.first_stage_model.state_dict().items()}
    yield
    latents.set_vae_dtype(model, dtype)
    model.first_stage_model.load_state_dict(state)


def setting(**values):
    return shared.opts.overlay(values)


def test_full_decoder_is_the_checkpoints_vae(model, latent):
    with torch.no_grad():
        expected = model.decode_first_stage(latent)
    assert torch.equal(latents.samples_to_images_tensor(latent, 0), expected)
    assert torch.equal(latents.decode_first_stage(model, latent), expected)
    assert torch.equal(latents.decode_checked(model, latent), expected)


def test_cheap_map_has_a_pixel_per_cell(model, latent):
    pixels = latents.samples_to_images_tensor(latent, latents.APPROX_CHEAP, model)
    assert pixels.shape == (2, 3, 8, 8)
    with torch.no_grad():
        full = torch.nn.functional.avg_pool2d(model.decode_first_stage(latent * 0), 8)
    cheap = latents.samples_to_images_tensor(latent * 0, latents.APPROX_CHEAP, model)
    assert (full - cheap).abs().mean() < 0.5


def test_networks_without_weights_fall_back_for_previews(model, latent):
    for method in ("Approx NN", "Approx cheap", "TAESD"):
        with setting(show_progress_type=method):
            assert latents.samples_to_images_tensor(latent).shape == (2, 3, 8, 8)
    with setting(show_progress_type="Full"):
        assert latents.samples_to_images_tensor(latent).shape == (2, 3, 64, 64)


def test_decoding_by_taesd_without_weights_is_an_error(model, latent):
    with setting(sd_vae_decode_method="TAESD"), pytest.raises(errors.NotFound, match="TAESD"):
        latents.decode_first_stage(model, latent)


def test_fast_interrupt_decodes_as_previews(model, latent, monkeypatch):
    monkeypatch.setattr(shared.state, "interrupted", True)
    with setting(live_preview_fast_interrupt=True, show_progress_type="Approx cheap"):
        assert latents.decode_first_stage(model, latent).shape == (2, 3, 8, 8)
    with setting(show_progress_type="Approx cheap"):
        assert latents.decode_first_stage(model, latent).shape == (2, 3, 64, 64)


def test_full_previews_need_leave_where_parts_take_turns(model, monkeypatch):
    monkeypatch.setattr(model, "lowvram", True)

    def method():
        return latents.PreviewSettings.from_opts(shared.opts).method(model)

    with setting(show_progress_type="Full"):
        assert method() == latents.APPROX_NN
    with setting(show_progress_type="Full", live_preview_allow_lowvram_full=True):
        assert method() == latents.FULL


class OtherFormat:
    """A model whose latents have two channels, and are drawn as red and green."""

    lowvram = False
    rows = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    family = replace(SD1, latent_format=replace(SD1.latent_format, channels=2, rgb_rows=rows, taesd=None))


def test_latents_are_drawn_as_those_of_the_model_they_are_of(model):
    latent = torch.tensor([0.5, -1.0]).view(1, 2, 1, 1)
    with setting(show_progress_type="Approx cheap"):
        red, green, blue = latents.samples_to_images_tensor(latent, model=OtherFormat()).flatten().tolist()
        assert red - green == 1.5
        assert blue == SD1.latent_format.rgb_bias[2]
        image = latents.sample_to_image(latent, model=OtherFormat())
        assert image.getpixel((0, 0))[:2] == tuple(int(255 * (x + 1) / 2) for x in (red, green))
        assert latents.samples_to_image_grid(latent.repeat(2, 1, 1, 1), model=OtherFormat()).size == (2, 1)
        with pytest.raises(RuntimeError):
            latents.sample_to_image(latent)  # the current model has four channels
    for convert in (latents.samples_to_images_tensor, latents.images_tensor_to_samples):
        with pytest.raises(errors.NotFound, match="TAESD"):
            convert(latent, latents.TAESD, OtherFormat())


@pytest.mark.parametrize("name", ["Full", "Approx NN", "Approx cheap", "TAESD", "of an extension"])
def test_settings_name_decoder_and_encoder(name):
    with setting(sd_vae_decode_method=name, sd_vae_encode_method="TAESD"):
        settings = latents.LatentSettings.from_opts(shared.opts)
    assert settings.decoder == latents.approximation_indexes.get(name, latents.FULL)
    assert settings.encoder == latents.TAESD


def test_encoding_draws_one_image_after_the_other(model):
    pixels = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    both = latents.images_tensor_to_samples(pixels, 0, model, generator=torch.Generator().manual_seed(9))
    generator = torch.Generator().manual_seed(9)
    singles = [latents.images_tensor_to_samples(one, 0, model, generator=generator) for one in pixels.split(1)]
    assert torch.equal(both, torch.cat(singles))
    assert both.shape == (2, 4, 3, 5)


def test_encoding_uses_the_setting_and_torchs_generator(model):
    pixels = torch.rand(1, 3, 16, 16)
    torch.manual_seed(3)
    first = latents.images_tensor_to_samples(pixels)
    torch.manual_seed(3)
    assert torch.equal(latents.images_tensor_to_samples(pixels, 0, model), first)
    with setting(sd_vae_encode_method="TAESD"), pytest.raises(errors.NotFound):
        latents.images_tensor_to_samples(pixels)


def test_images_are_clamped_and_truncated(model, latent):
    with torch.no_grad():
        pixels = model.decode_first_stage(latent[:1])[0]
    expected = (torch.clamp(pixels / 2 + 0.5, 0, 1) * 255).numpy().transpose(1, 2, 0).astype(np.uint8)
    assert np.array_equal(np.array(latents.sample_to_image(latent, 0, approximation=0)), expected)


def test_preview_is_a_grid_or_the_first_image(model, latent):
    with setting(show_progress_type="Approx cheap", show_progress_grid=True):
        assert latents.preview(latent).size == (16, 8)
    with setting(show_progress_type="Approx cheap", show_progress_grid=False):
        assert latents.preview(latent).size == (8, 8)


def test_state_shows_previews(model, latent):
    shared.state.begin("test")
    shared.state.current_latent = latent
    shared.state.do_set_current_image()
    assert shared.state.current_image is not None
    assert shared.state.id_live_preview == 1
    shared.state.end()


def overflow(model):
    """Makes the VAE's decoder exceed float16, but not bfloat16 or float32."""
    latents.set_vae_dtype(model, torch.float16)
    with torch.no_grad():
        model.first_stage_model.decoder.conv_in.weight.mul_(3e4)
        model.first_stage_model.decoder.conv_in.bias.mul_(3e4)


@pytest.mark.parametrize(
    ("settings", "dtype"), [({}, torch.float32), ({"auto_vae_precision_bfloat16": True}, torch.bfloat16)]
)
def test_image_of_nans_is_decoded_again_in_a_wider_type(model, latent, restored, caplog, settings, dtype):
    overflow(model)
    assert torch.isnan(latents.decode_first_stage(model, latent)).any()
    with setting(**settings):
        pixels = latents.decode_checked(model, latent)
    assert torch.isfinite(pixels).all()
    assert model.placement.dtype_vae == model.first_stage_model.dtype == dtype
    assert devices.dtype_vae == torch.float32, "what the flags choose"
    assert "auto_vae_precision" in caplog.text


def test_nans_are_an_error_where_no_wider_type_is_allowed(model, latent, restored):
    overflow(model)
    with setting(auto_vae_precision=False), pytest.raises(devices.NansException):
        latents.decode_checked(model, latent)


def test_nans_in_float32_are_an_error(model, latent):
    with pytest.raises(devices.NansException):
        latents.decode_checked(model, latent * float("nan"))


class Hungry:
    """Stands between a VAE and its caller: runs out of memory on more than `cells` latent cells."""

    def __init__(self, network, cells):
        self.forward = network.forward
        self.cells = cells
        self.calls = 0

    def __call__(self, x, *args):
        self.calls += 1
        if x.shape[-1] > self.cells:
            raise torch.OutOfMemoryError("out of memory")
        return self.forward(x, *args)


@pytest.mark.parametrize("cells", [16, 72], ids=["as large as a tile", "larger"])
def test_image_too_large_for_the_memory_is_decoded_row_by_row(model, monkeypatch, caplog, cells):
    hungry = Hungry(model.first_stage_model.decoder, cells=8)
    monkeypatch.setattr(model.first_stage_model.decoder, "forward", hungry)
    pixels = latents.decode_first_stage(model, torch.zeros(1, 4, 8, cells))
    assert pixels.shape == (1, 3, 64, 8 * cells)
    assert hungry.calls == 1
    assert "row by row" in caplog.text
    assert not model.first_stage_model.use_tiling


def test_out_of_memory_row_by_row_is_reported(model, monkeypatch):
    first = model.first_stage_model.decoder.conv_in
    monkeypatch.setattr(first, "forward", Hungry(first, cells=1))
    with pytest.raises(errors.OutOfMemory, match="decode"):
        latents.decode_first_stage(model, torch.zeros(1, 4, 8, 8))
    assert not model.first_stage_model.use_tiling


def test_errors_that_are_not_of_memory_are_not_answered_with_tiles(model, monkeypatch):
    calls = []

    def fails(*_):
        calls.append(model.first_stage_model.use_tiling)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("out of memory")
        raise RuntimeError("wrong shape")

    monkeypatch.setattr(model.first_stage_model.decoder.conv_in, "forward", fails)
    with pytest.raises(RuntimeError, match="wrong shape"):
        latents.decode_first_stage(model, torch.zeros(1, 4, 8, 8))
    assert calls == [False]
    with pytest.raises(RuntimeError, match="wrong shape"):
        latents.decode_first_stage(model, torch.zeros(1, 4, 8, 8))
    assert calls == [False, False, True]
    assert not model.first_stage_model.use_tiling
    assert "tiled_decode" not in vars(model.first_stage_model)


@pytest.mark.parametrize("tells_itself", [True, False], ids=["runs out", "is known to be too small"])
def test_parts_make_the_image_of_the_whole(model, monkeypatch, tells_itself):
    latent = torch.randn(1, 4, 8, 72, generator=torch.Generator().manual_seed(5)).div(5)
    expected = latents.decode_first_stage(model, latent)
    if tells_itself:
        hungry = Hungry(model.first_stage_model.decoder, cells=64)
        monkeypatch.setattr(model.first_stage_model.decoder, "forward", hungry)
    else:
        monkeypatch.setattr(latents, "SURELY_FREE", 0)
        monkeypatch.setattr(devices, "free_memory", lambda on: 1000)
        monkeypatch.setattr(model.first_stage_model.decoder, "forward", None)
    pixels = latents.decode_first_stage(model, latent)
    assert (pixels - expected).abs().max() < 1e-3


@pytest.mark.parametrize("tells_itself", [True, False], ids=["runs out", "is known to be too small"])
def test_an_image_too_large_for_the_memory_is_encoded_row_by_row(model, monkeypatch, tells_itself):
    image = torch.rand(1, 3, 16, 576, generator=torch.Generator().manual_seed(5))

    def encoded():
        return latents.images_tensor_to_samples(image, 0, model, torch.Generator().manual_seed(1))

    expected = encoded()
    encoder = model.first_stage_model.encoder
    if tells_itself:
        monkeypatch.setattr(encoder, "forward", Hungry(encoder, cells=512))
    else:
        monkeypatch.setattr(latents, "SURELY_FREE", 0)
        monkeypatch.setattr(devices, "free_memory", lambda on: 1000)
        monkeypatch.setattr(encoder, "forward", None)
    assert (encoded() - expected).abs().max() < 1e-5 < expected.std()


def test_the_vae_gets_pixels_in_torchs_own_layout(model, monkeypatch):
    """Torch's group norm loses digits of those that lie channels-last, as an image does."""
    seen = []
    encode = model.encode_first_stage
    monkeypatch.setattr(model, "encode_first_stage", lambda x, **kwargs: seen.append(x) or encode(x, **kwargs))
    permuted = torch.rand(64, 64, 3).permute(2, 0, 1)[None]
    latents.images_tensor_to_samples(permuted, latents.FULL)
    assert not permuted.is_contiguous() and [pixels.is_contiguous() for pixels in seen] == [True]
