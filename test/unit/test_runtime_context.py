"""The view of a run for extensions: five frozen references."""

import copy
import dataclasses

import pytest

from modules import shared
from modules.opts_snapshot import create_opts_snapshot
from modules.runtime_context import RuntimeContext


@pytest.fixture
def context():
    return RuntimeContext(
        model=object(),
        opts_snapshot=create_opts_snapshot(shared.opts),
        device=shared.device,
        state=shared.state,
        cmd_opts=shared.cmd_opts,
    )


def test_it_has_these_fields_in_this_order():
    names = [field.name for field in dataclasses.fields(RuntimeContext)]
    assert names == ["model", "opts_snapshot", "device", "state", "cmd_opts"]


def test_it_holds_what_it_was_given(context):
    assert context.state is shared.state
    assert context.cmd_opts is shared.cmd_opts
    assert context.device is shared.device


@pytest.mark.parametrize("name", ["model", "state", "new"])
def test_it_cannot_be_changed(context, name):
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError, AttributeError)):
        setattr(context, name, None)
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError, AttributeError)):
        delattr(context, name)
    assert not hasattr(context, "__dict__")


def test_copying_a_processing_object_copies_no_model(context):
    assert copy.copy(context) is context
    assert copy.deepcopy([context])[0] is context
