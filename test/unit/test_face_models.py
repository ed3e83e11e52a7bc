"""GFPGAN and CodeFormer as face restorers; the networks are stand-ins of two layers, the real ones have 300 MB."""

import numpy as np
import pytest
import torch
from torch import nn

from modules import codeformer_model, face_restoration_utils, gfpgan_model, shared, upscaler_files
from modules.errors import NotFound, NotSupported

PICTURE = np.zeros((8, 8, 3), dtype=np.uint8)


class Network(nn.Module):
    """Returns its input negated in a pair, as both networks do, and notes how it was called."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, **kwargs):
        self.calls.append(kwargs)
        return -x, None


@pytest.fixture
def on_one_face(monkeypatch):
    """Pictures are one face as a whole."""

    def restore(picture, helper, restore_face):
        face = torch.from_numpy(picture.transpose(2, 0, 1)[None] / 127.5 - 1)
        return (restore_face(face)[0].numpy().transpose(1, 2, 0) * 127.5 + 127.5).astype(np.uint8)

    monkeypatch.setattr(face_restoration_utils, "restore_with_face_helper", restore)
    monkeypatch.setattr(face_restoration_utils, "create_face_helper", lambda device, folder: None)


@pytest.fixture(autouse=True)
def restorers(monkeypatch):
    monkeypatch.setattr(shared, "face_restorers", [])


class Loaded:
    def __init__(self):
        self.model = Network()


def test_gfpgan_restores(on_one_face, monkeypatch):
    restorer = gfpgan_model.FaceRestorerGFPGAN("folder")
    monkeypatch.setattr(restorer, "model_files", lambda: ["/m/detection.pth", "/m/GFPGANv1.4.pth"])
    monkeypatch.setattr(
        upscaler_files, "load_spandrel_model", lambda path, **kwargs: Loaded() if "GFPGAN" in path else None
    )
    monkeypatch.setattr(restorer, "send_model_to", lambda device: None)
    assert (restorer.restore(PICTURE) == 255).all()
    assert restorer.net.calls == [{"return_rgb": False}]
    assert restorer.name() == "GFPGAN"


def test_gfpgan_without_a_model_file(monkeypatch):
    restorer = gfpgan_model.FaceRestorerGFPGAN("folder")
    monkeypatch.setattr(restorer, "model_files", lambda: ["/m/detection.pth"])
    with pytest.raises(NotFound, match="no GFPGAN model is in folder"):
        restorer.load_net()


def test_codeformer_restores_with_a_weight(on_one_face, monkeypatch):
    restorer = codeformer_model.FaceRestorerCodeFormer("folder")
    monkeypatch.setattr(upscaler_files, "has_extra_architectures", lambda: True)
    monkeypatch.setattr(restorer, "model_files", lambda: ["/m/codeformer.pth"])
    monkeypatch.setattr(upscaler_files, "load_spandrel_model", lambda path, **kwargs: Loaded())
    monkeypatch.setattr(restorer, "send_model_to", lambda device: None)
    with shared.opts.overlay({"code_former_weight": 0.75}):
        restorer.restore(PICTURE)
    restorer.restore(PICTURE, w=0)
    assert restorer.net.calls == [{"weight": 0.75, "adain": True}, {"weight": 0, "adain": True}]
    assert restorer.name() == "CodeFormer"


def test_codeformer_names_its_package_and_its_folder(monkeypatch):
    restorer = codeformer_model.FaceRestorerCodeFormer("folder")
    monkeypatch.setattr(upscaler_files, "has_extra_architectures", lambda: False)
    with pytest.raises(NotSupported, match="pip install spandrel-extra-arches"):
        restorer.load_net()
    monkeypatch.setattr(upscaler_files, "has_extra_architectures", lambda: True)
    monkeypatch.setattr(restorer, "model_files", lambda: [])
    with pytest.raises(NotFound, match="no CodeFormer model is in folder"):
        restorer.load_net()


@pytest.mark.parametrize(
    ("module", "restorer", "name"),
    [
        (codeformer_model, codeformer_model.codeformer, "CodeFormer"),
        (gfpgan_model, gfpgan_model.gfpgan_face_restorer, "GFPGAN"),
    ],
)
def test_setup_offers_the_restorer_once(module, restorer, name, monkeypatch):
    monkeypatch.setattr(restorer, "model_path", "")
    for _ in range(2):
        module.setup_model("/models/here")
    assert [found.name() for found in shared.face_restorers] == [name]
    assert restorer.model_path == "/models/here"


def test_gfpgan_function_uses_the_restorer(monkeypatch):
    monkeypatch.setattr(gfpgan_model.gfpgan_face_restorer, "restore", lambda picture: picture + 1)
    assert (gfpgan_model.gfpgan_fix_faces(PICTURE) == 1).all()
