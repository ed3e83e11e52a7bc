"""The frozen settings of a job."""

import copy
import json
import pickle

import pytest

from modules.options import OptionInfo, Options
from modules.opts_snapshot import create_opts_snapshot


@pytest.fixture
def opts():
    opts = Options({"a": OptionInfo(1), "names": OptionInfo(["x", ["y"]]), "table": OptionInfo({"k": ["v"]})}, ())
    opts.data = {"a": 2, "names": ["x", ["y"]], "extra": {1, 2}}
    return opts


def test_it_shows_values_defaults_and_what_a_job_lays_over_them(opts):
    with opts.overlay({"a": 3}):
        snapshot = create_opts_snapshot(opts)
    assert (snapshot.a, snapshot.table["k"]) == (3, ("v",))
    assert snapshot.get("a") == 3
    assert snapshot.get("nonsense", 5) == 5
    assert repr(snapshot) == "OptsSnapshot(4 settings)"


def test_later_changes_are_not_seen(opts):
    snapshot = create_opts_snapshot(opts)
    opts.a = 5
    opts.data["names"].append("z")
    opts.data["names"][1].append("z")
    opts.data_labels["table"].default["k"].append("w")
    assert snapshot.a == 2
    assert snapshot.names == ("x", ("y",))
    assert snapshot.table["k"] == ("v",)
    assert snapshot.extra == frozenset({1, 2})


def test_settings_may_be_defined_while_it_is_taken(opts):
    class Defining(OptionInfo):
        """A definition that is read at the moment another thread adds one."""

        def __getattribute__(self, name):
            if name in ("default", "comment_before"):
                opts.data_labels.setdefault("meanwhile", OptionInfo(1))
            return super().__getattribute__(name)

    opts.data_labels["slow"] = Defining(2)
    assert create_opts_snapshot(opts).slow == 2
    opts.data_labels.pop("meanwhile")
    opts.data.pop("extra")  # JSON knows no sets
    assert json.loads(opts.dumpjson())["slow"] == 2


def test_an_unknown_setting_is_an_attribute_error(opts):
    with pytest.raises(AttributeError, match="nonsense"):
        _ = create_opts_snapshot(opts).nonsense


@pytest.mark.parametrize(
    "change",
    [
        lambda snapshot: setattr(snapshot, "a", 5),
        lambda snapshot: setattr(snapshot, "new", 5),
        lambda snapshot: delattr(snapshot, "a"),
        lambda snapshot: object.__setattr__(snapshot, "a", 5),
        lambda snapshot: snapshot.__dict__,
        lambda snapshot: snapshot.table.update(k=1),
        lambda snapshot: snapshot.names.append("z"),
    ],
)
def test_nothing_can_be_changed_through_it(opts, change):
    snapshot = create_opts_snapshot(opts)
    with pytest.raises((AttributeError, TypeError)):
        change(snapshot)
    assert snapshot.a == 2


def test_copies_of_a_processing_object_share_it(opts):
    snapshot = create_opts_snapshot(opts)
    assert copy.copy(snapshot) is snapshot
    assert copy.deepcopy({"p": snapshot})["p"] is snapshot


def test_it_travels_to_another_process(opts):
    opts.data["names"].append({"deep": [1]})
    snapshot = create_opts_snapshot(opts)
    arrived = pickle.loads(pickle.dumps(snapshot))
    assert arrived.a == 2 and arrived.names == snapshot.names
    assert arrived.table == {"k": ("v",)} and arrived.extra == frozenset({1, 2})
    with pytest.raises(TypeError):
        arrived.table["k"] = 1
