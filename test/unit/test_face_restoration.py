import numpy as np
import pytest

from modules import face_restoration, shared
from modules.face_restoration import FaceRestoration

PICTURE = np.zeros((4, 4, 3), dtype=np.uint8)


class White(FaceRestoration):
    def name(self):
        return "White"

    def restore(self, np_image):
        return np.full_like(np_image, 255)


@pytest.fixture(autouse=True)
def restorers(monkeypatch):
    monkeypatch.setattr(shared, "face_restorers", [FaceRestoration(), White()])


@pytest.mark.parametrize(("setting", "value"), [("White", 255), (None, 0), ("None", 0), ("CodeFormer", 0)])
def test_setting_chooses_the_restorer(setting, value):
    with shared.opts.overlay({"face_restoration_model": setting}):
        restored = face_restoration.restore_faces(PICTURE)
    assert (restored == value).all()
    assert restored.shape == PICTURE.shape


def test_restorer_by_itself_changes_nothing():
    restorer = FaceRestoration()
    assert restorer.name() == "None"
    assert restorer.restore(PICTURE) is PICTURE


def test_without_restorers_the_image_stays(monkeypatch):
    monkeypatch.setattr(shared, "face_restorers", [])
    assert face_restoration.restore_faces(PICTURE) is PICTURE


def test_settings_are_those_of_the_moment():
    values = {"code_former_weight": 0.25, "face_restoration_unload": True, "face_restoration_model": "White"}
    with shared.opts.overlay(values):
        read = face_restoration.FaceRestorationSettings.from_opts(shared.opts)
    assert vars(read) == values
    assert face_restoration.FaceRestorationSettings.from_opts(shared.opts) != read
