"""The classes of AltDiffusion's text encoders can be asked for, and not made."""

import pytest

from modules import sd_hijack_xlmr, xlmr, xlmr_m18
from modules.errors import NotSupported


def test_no_model_has_such_an_encoder(sd_model):
    reader = sd_model.cond_stage_model
    assert not isinstance(reader, sd_hijack_xlmr.FrozenXLMREmbedderWithCustomWords)
    assert not isinstance(reader.wrapped, xlmr_m18.BertSeriesModelWithTransformation)


@pytest.mark.parametrize(
    "make",
    [
        lambda: xlmr.RobertaSeriesModelWithTransformation(),
        lambda: sd_hijack_xlmr.FrozenXLMREmbedderWithCustomWords(None, None),
    ],
)
def test_making_one_says_why_not(make):
    with pytest.raises(NotSupported, match="AltDiffusion"):
        make()
