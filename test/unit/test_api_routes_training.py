"""Routes of what is no part of the program say so."""

import pytest

from modules.api import routes_training


@pytest.mark.parametrize("path", routes_training.ROUTES)
def test_training_is_not_available(client, path):
    response = client.post(path, json={"name": "ink"})
    assert (response.status_code, response.json()["error"]) == (501, "NotSupported")
    assert "not available" in response.json()["detail"]
