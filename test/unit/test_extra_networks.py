import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules import extra_networks
from modules.extra_networks import ExtraNetwork, ExtraNetworkParams
from test.unit.tiny_networks import job

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "misc_vectors.json").read_text(encoding="utf8"))


class Recorder(ExtraNetwork):
    """Writes down what is asked of it; fails if told to."""

    def __init__(self, name, log, fails=False):
        super().__init__(name)
        self.log = log
        self.fails = fails

    def activate(self, p, params_list):
        self.log.append(("activate", self.name, [params.items for params in params_list]))
        if self.fails:
            raise ValueError("broken network")

    def deactivate(self, p):
        self.log.append(("deactivate", self.name))
        if self.fails:
            raise ValueError("broken network")


@pytest.fixture
def log(monkeypatch):
    """What registered networks `a`, `b` and `c` (alias of `c`: see) are asked to do."""
    monkeypatch.setattr(extra_networks, "extra_network_registry", {})
    monkeypatch.setattr(extra_networks, "extra_network_aliases", {})
    result = []
    for name in "abc":
        extra_networks.register_extra_network(Recorder(name, result))
    extra_networks.register_extra_network_alias(extra_networks.extra_network_registry["c"], "see")
    return result


def data_of(prompt):
    return extra_networks.parse_prompt(prompt)[1]


@pytest.mark.parametrize("row", VECTORS["extra_network_tags"], ids=lambda row: row["in"])
def test_tag_vectors(row):
    prompt, networks = extra_networks.parse_prompt(row["in"])
    assert prompt == row["prompt"]
    found = {name: [vars(params) for params in params_list] for name, params_list in networks.items()}
    assert found == row["networks"]


def test_only_the_first_prompt_of_a_batch_names_networks():
    row = VECTORS["extra_networks_of_batch"]
    prompts, networks = extra_networks.parse_prompts(row["in"])
    assert prompts == row["prompts"]
    assert [params.positional for params in networks["lora"]] == row["active"]
    assert extra_networks.parse_prompts([]) == ([], None)


def test_items_that_are_no_text_are_positional():
    params = ExtraNetworkParams(["name", 0.5])
    assert (params.positional, params.named) == (["name", 0.5], {})
    assert ExtraNetworkParams().items == []


def test_named_networks_come_first_in_the_order_of_their_tags(log):
    extra_networks.activate(job(), data_of("<b:x:1> <a:y> <b:z> <unknown:w>"))
    assert log == [("activate", "b", [["x", "1"], ["z"]]), ("activate", "a", [["y"]]), ("activate", "c", [])]


def test_alias_counts_while_no_network_has_the_name(log):
    assert list(extra_networks.lookup_extra_networks(data_of("<see:x>"))) == [
        extra_networks.extra_network_registry["c"]
    ]
    own = Recorder("see", log)
    extra_networks.register_extra_network(own)
    assert list(extra_networks.lookup_extra_networks(data_of("<see:x>"))) == [own]


def test_alias_and_name_are_one_network(log):
    extra_networks.activate(job(), data_of("<c:x><see:y>"))
    assert log[0] == ("activate", "c", [["x"], ["y"]])


def test_failing_network_is_reported_and_tried_without_arguments(log, caplog):
    extra_networks.register_extra_network(Recorder("a", log, fails=True))
    extra_networks.activate(job(), data_of("<a:x>"))
    extra_networks.deactivate(job(), data_of("<a:x>"))
    assert [entry[:2] for entry in log] == [
        *[("activate", "a")] * 2, ("activate", "b"), ("activate", "c"),
        ("deactivate", "a"), ("deactivate", "b"), ("deactivate", "c"),
    ]  # fmt: skip
    assert log[1] == ("activate", "a", [])
    assert "activating extra network a with [['x']]" in caplog.text and "broken network" in caplog.text


def test_named_networks_are_deactivated_first(log):
    extra_networks.deactivate(job(), data_of("<b:x>"))
    assert log == [("deactivate", "b"), ("deactivate", "a"), ("deactivate", "c")]


def test_scripts_hear_of_the_activation(log):
    calls = []
    scripts = SimpleNamespace(after_extra_networks_activate=lambda p, **kwargs: calls.append(kwargs))
    data = data_of("<a:x>")
    extra_networks.activate(job(scripts=scripts, iteration=3), data)
    assert calls == [
        {"batch_number": 3, "prompts": ["a"], "seeds": [1], "subseeds": [2], "extra_network_data": data},
    ]


def test_initialize_forgets_all_and_default_ones_come_back(log, monkeypatch):
    extra_networks.initialize()
    assert not extra_networks.extra_network_registry and not extra_networks.extra_network_aliases
    monkeypatch.setattr(extra_networks, "default_extra_networks", [lambda: Recorder("own", log)])
    extra_networks.register_default_extra_networks()
    assert list(extra_networks.extra_network_registry) == ["own"]


def test_base_class_does_nothing_itself():
    with pytest.raises(NotImplementedError):
        ExtraNetwork("x").activate(None, [])
    with pytest.raises(NotImplementedError):
        ExtraNetwork("x").deactivate(None)


def test_user_metadata_is_read_beside_the_model(tmp_path):
    (tmp_path / "model.json").write_text('{"description": "größer"}', encoding="utf8")
    assert extra_networks.get_user_metadata(str(tmp_path / "model.safetensors")) == {"description": "größer"}
    assert extra_networks.get_user_metadata(str(tmp_path / "other.safetensors")) == {}
    assert extra_networks.get_user_metadata(None) == {}


def test_user_metadata_asks_the_lister(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    lister = SimpleNamespace(exists=lambda path: False)
    (tmp_path / "model.json").write_text('{"a": 1}')
    assert extra_networks.get_user_metadata(str(tmp_path / "model.pt"), lister) == {}


@pytest.mark.parametrize(("text", "is_reported"), [("{", True), ("[1]", False), ("[" * 100_000, True)])
def test_user_metadata_that_is_none(tmp_path, caplog, text, is_reported):
    (tmp_path / "model.json").write_text(text)
    assert extra_networks.get_user_metadata(str(tmp_path / "model.pt")) == {}
    assert ("model.json" in caplog.text) == is_reported


def test_tags_compare_by_value():
    assert extra_networks.parse_prompt("<lora:a:1:te=0.5>")[1] == extra_networks.parse_prompt("b <lora:a:1:te=0.5>")[1]
    for other in ("<lora:a:1>", "<lora:a:1:te=0.6>", "<lyco:a:1:te=0.5>", "<lora:a:1:te=0.5><lora:b>", ""):
        assert extra_networks.parse_prompt("<lora:a:1:te=0.5>")[1] != extra_networks.parse_prompt(other)[1]
    assert extra_networks.ExtraNetworkParams(["a", 1.0]) == extra_networks.ExtraNetworkParams(items=("a", 1.0))
    assert extra_networks.ExtraNetworkParams() == extra_networks.ExtraNetworkParams([]) != "a"
