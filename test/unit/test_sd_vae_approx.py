"""The small preview network and the linear map; where their weights are looked for."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from modules import errors, paths, preview_files, sd_models, sd_vae_approx, shared, upscaler_files
from modules.model_families import SD1
from modules.sd_vae_approx import VAEApprox

URL = SD1.latent_format.approx_url


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty models folder, and a current model that has SD1's previews."""
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    monkeypatch.setattr(paths, "script_path", str(tmp_path / "program"))
    sd_models.setup_model()
    monkeypatch.setattr(shared.sd_model, "family", SD1)
    preview_files.fetch_once.cache_clear()
    yield tmp_path
    sd_vae_approx.sd_vae_approx_models.clear()
    preview_files.fetch_once.cache_clear()


def test_network_is_eight_convolutions_on_the_enlarged_latent():
    network = VAEApprox().eval()
    x = torch.randn(1, 4, 3, 5)
    expected = F.pad(x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3), (11, 11, 11, 11))
    for i in range(1, 9):
        expected = F.leaky_relu(getattr(network, f"conv{i}")(expected), 0.1)
    with torch.no_grad():
        out = network(x)
    assert out.shape == (1, 3, 6, 10)
    assert torch.allclose(out, expected)


def test_file_is_used_once_it_is_there(models, caplog):
    assert sd_vae_approx.model() is None
    assert sd_vae_approx.model() is None
    assert len([r for r in caplog.records if "previews are rough" in r.message]) == 1, "said once"

    (models / "VAE-approx").mkdir()
    network = VAEApprox()
    torch.save(network.state_dict(), models / "VAE-approx" / "model.pt")
    found = sd_vae_approx.model()
    assert torch.equal(found.conv1.weight, network.conv1.weight)
    assert sd_vae_approx.model() is found


def test_programs_own_folder_is_searched_too(models):
    folder = models / "program" / "models" / "VAE-approx"
    folder.mkdir(parents=True)
    (folder / "model.pt").touch()
    assert preview_files.find("VAE-approx", URL) == str(folder / "model.pt")
    assert preview_files.get("VAE-approx", URL) == str(folder / "model.pt")


def test_missing_file_is_fetched_in_the_background(models, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fetched = []

    def download(url, *, model_dir):
        fetched.append((url, model_dir))
        raise errors.NotFound("no network")

    monkeypatch.setattr(upscaler_files, "load_file_from_url", download)
    started = []
    monkeypatch.setattr(preview_files.threading.Thread, "start", lambda thread: started.append(thread))
    assert preview_files.find_or_fetch("VAE-approx", URL) is None
    assert preview_files.find_or_fetch("VAE-approx", URL) is None
    (thread,) = started
    thread.run()
    assert fetched == [(URL, str(models / "VAE-approx"))]


def test_families_nobody_made_a_network_for(models, monkeypatch):
    family = dataclasses.replace(SD1, latent_format=dataclasses.replace(SD1.latent_format, approx_url=None))
    monkeypatch.setattr(shared.sd_model, "family", family)
    assert sd_vae_approx.model() is None


def test_linear_map_of_sd1(models):
    latent = torch.zeros(4, 1, 1)
    latent[2] = 2.0
    colour = sd_vae_approx.cheap_approximation(latent).flatten()
    assert colour.tolist() == pytest.approx([-0.316, 0.378, 0.528])
