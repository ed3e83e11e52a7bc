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
