"""The store of settings: lookup, overlay, rules of changing, files."""

import json
import threading
from dataclasses import FrozenInstanceError, dataclass

import pytest

from modules import options
from modules.errors import InvalidInput, NotSaved
from modules.options import OptionHTML, OptionInfo, Options, OptionValues, options_section
from modules.opts_snapshot import create_opts_snapshot
from modules.shared_cmd_options import cmd_opts


@pytest.fixture
def opts():
    labels = options_section(
        ("page", "Page", "cat"),
        {
            "number": OptionInfo(1, "Number"),
            "ratio": OptionInfo(0.5, "Ratio"),
            "flag": OptionInfo(True, "Flag"),
            "text": OptionInfo("a", "Text"),
            "empty": OptionInfo(None, "Empty"),
            "note": OptionHTML("A note"),
            "hidden": OptionInfo("h", "Hidden", component_args={"visible": False}),
            "secret": OptionInfo("s", "Secret", restrict_api=True),
            "folder": OptionInfo("f", "Folder"),
        },
    )
    return Options(labels, {"folder"})


@pytest.fixture
def flags(monkeypatch):
    def set_flags(**values):
        for name, value in values.items():
            monkeypatch.setattr(cmd_opts, name, value)

    return set_flags


def test_a_new_store_holds_the_defaults_without_notes(opts):
    assert opts.number == 1
    assert opts.data["text"] == "a"
    assert "note" not in opts.data


def test_stored_values_go_before_defaults_and_missing_ones_fall_back(opts):
    opts.data = {"number": 7}
    assert (opts.number, opts.text) == (7, "a")


def test_an_unknown_setting_is_an_attribute_error(opts):
    with pytest.raises(AttributeError, match="nonsense"):
        _ = opts.nonsense


def test_an_unknown_attribute_is_stored_on_the_object(opts):
    opts.note_to_self = 5
    assert opts.note_to_self == 5
    assert "note_to_self" not in opts.data


def test_a_stored_key_without_definition_can_be_read_and_assigned(opts):
    opts.data["from_extension"] = 1
    opts.from_extension = 2
    assert opts.data["from_extension"] == 2


def test_a_copy_without_init_does_not_recurse():
    bare = Options.__new__(Options)
    with pytest.raises(AttributeError):
        _ = bare.anything


class TestOverlay:
    def test_it_is_seen_inside_and_gone_afterwards(self, opts):
        with opts.overlay({"number": 9}):
            assert opts.number == 9
            assert opts.data["number"] == 1
        assert opts.number == 1

    def test_it_ends_with_an_exception(self, opts):
        with pytest.raises(ZeroDivisionError), opts.overlay({"number": 9}):
            raise ZeroDivisionError
        assert opts.number == 1

    def test_other_threads_do_not_see_it(self, opts):
        seen = []
        with opts.overlay({"number": 9}):
            thread = threading.Thread(target=lambda: seen.append(opts.number))
            thread.start()
            thread.join()
        assert seen == [1]

    def test_assignment_inside_changes_an_overlaid_setting_there_only(self, opts):
        with opts.overlay({"number": 9}):
            opts.number = 10
            opts.text = "b"
            assert opts.number == 10
        assert opts.number == 1
        assert opts.text == "b"

    def test_it_nests_and_the_inner_one_wins(self, opts):
        with opts.overlay({"number": 2, "text": "x"}), opts.overlay({"number": 3}) as seen:
            assert (opts.number, opts.text) == (3, "x")
            assert dict(seen) == {"number": 3, "text": "x"}
            opts.text = "y"
            assert opts.text == "y"
        assert (opts.number, opts.text) == (1, "a")

    def test_set_always_writes_the_users_value(self, opts):
        with opts.overlay({"number": 2}):
            assert opts.set("number", 5)
            assert opts.number == 2
        assert opts.number == 5


class TestRules:
    def test_notes_are_ignored(self, opts):
        opts.note = "other"
        assert opts.note == "A note"
        assert not opts.set("note", "other")

    def test_hidden_settings_cannot_be_changed(self, opts):
        with pytest.raises(RuntimeError, match="hidden"):
            opts.hidden = "x"
        assert opts.set("hidden", "x") is False

    def test_restricted_settings_cannot_be_changed_with_the_flag(self, opts, flags):
        opts.folder = "g"
        flags(hide_ui_dir_config=True)
        with pytest.raises(RuntimeError, match="folder"):
            opts.folder = "h"
        assert opts.folder == "g"

    @pytest.mark.parametrize(
        "flag",
        [
            {"freeze_settings": True},
            {"freeze_settings_in_sections": "other, page"},
            {"freeze_specific_settings": "number,text"},
        ],
    )
    def test_frozen_settings_fail_by_assertion(self, opts, flags, flag):
        flags(**flag)
        with pytest.raises(AssertionError, match="frozen"):
            opts.number = 2
        with pytest.raises(AssertionError, match="frozen"):
            opts.set("number", 2)
        assert opts.number == 1

    def test_freezing_one_setting_leaves_the_others(self, opts, flags):
        flags(freeze_specific_settings="number")
        opts.text = "b"
        assert opts.text == "b"

    def test_frozen_settings_are_not_saved(self, opts, flags, tmp_path):
        flags(freeze_settings=True)
        with pytest.raises(AssertionError):
            opts.save(str(tmp_path / "config.json"))


class TestSet:
    def test_equal_values_change_nothing(self, opts):
        assert opts.set("number", 1) is False

    def test_unknown_keys_raise_unless_the_value_is_none(self, opts):
        with pytest.raises(KeyError):
            opts.set("nonsense", 1)
        assert opts.set("nonsense", None) is False

    def test_a_default_that_no_file_has_named_yet_is_no_change(self, opts, tmp_path):
        opts.load(str(tmp_path / "there is none.json"))
        assert opts.set("number", opts.get_default("number")) is False and opts.data == {}

    def test_the_api_cannot_set_what_is_closed_to_it(self, opts):
        assert opts.set("secret", "x", is_api=True) is False
        assert opts.set("secret", "x") is True

    def test_onchange_is_called_after_the_change(self, opts):
        seen = []
        opts.onchange("number", lambda: seen.append(opts.number), call=False)
        opts.set("number", 3)
        opts.set("number", 4, run_callbacks=False)
        assert seen == [3]

    def test_onchange_can_be_called_when_attached(self, opts):
        seen = []
        opts.onchange("number", lambda: seen.append(opts.number))
        assert seen == [1]

    @pytest.mark.parametrize("stored", [{}, {"number": 2}])
    def test_a_failing_handler_reverts(self, opts, stored):
        opts.data = dict(stored)
        opts.onchange("number", lambda: 1 / 0, call=False)
        assert opts.set("number", 3) is False
        assert opts.data == stored


class TestFile:
    def test_it_is_one_flat_object_and_keeps_unknown_keys_and_letters(self, opts, tmp_path):
        file = tmp_path / "config.json"
        file.write_text('{"number": 3, "of_an_extension": [1]}', encoding="utf8")
        opts.load(str(file))
        opts.text = "äö"
        opts.save(str(file))
        assert json.loads(file.read_text(encoding="utf8")) == {"number": 3, "of_an_extension": [1], "text": "äö"}
        assert '\n    "text": "äö"' in file.read_text(encoding="utf8")

    def test_loading_replaces_everything(self, opts, tmp_path):
        opts.number = 5
        opts.load(str(tmp_path / "missing.json"))
        assert opts.data == {}
        assert opts.number == 1

    @pytest.mark.parametrize(
        ("content", "values"),
        [
            (b"{not json", {}),
            (b"[1, 2]", {}),
            (b"\xff\xfe\x00", {}),
            (b'{"number": 3, "ratio": 0.2, "text": "cu', {"number": 3, "ratio": 0.2}),
            (b'{"number": 3, "text": "\xff"}', {"number": 3}),
        ],
    )
    def test_a_damaged_file_is_read_as_far_as_it_goes_and_kept(self, opts, tmp_path, content, values):
        file = tmp_path / "config.json"
        file.write_bytes(content)
        opts.load(str(file))
        assert opts.data == values
        opts.save(str(file))
        assert (tmp_path / "config.json.damaged").read_bytes() == content

    def test_values_that_cannot_be_read_are_named_and_have_their_default(self, opts, tmp_path, caplog):
        file = tmp_path / "config.json"
        file.write_text('{"number": "three", "ratio": 1, "flag": "off", "mine": {}}', encoding="utf8")
        opts.load(str(file))
        assert opts.data == {"ratio": 1, "flag": False, "mine": {}}
        assert opts.number == 1
        assert "number" in caplog.text
        assert "three" in (tmp_path / "config.json.damaged").read_text(encoding="utf8")

    def test_numbers_get_their_type_silently(self, opts, tmp_path, caplog):
        file = tmp_path / "config.json"
        file.write_text('{"number": 2.0, "text": null}', encoding="utf8")
        opts.load(str(file))
        assert type(opts.number) is int
        assert opts.text == "a"
        assert not caplog.records
        assert not (tmp_path / "config.json.damaged").exists()

    def test_every_other_damage_is_kept_once(self, opts, tmp_path):
        file = tmp_path / "config.json"
        for content in ("{a", "{a", "{b"):
            file.write_text(content, encoding="utf8")
            opts.load(str(file))
        kept = sorted(path.name for path in tmp_path.iterdir() if path != file)
        assert kept == ["config.json.damaged", "config.json.damaged-2"]

    def test_settings_of_extensions_are_read_when_they_are_defined(self, opts, tmp_path, caplog):
        file = tmp_path / "config.json"
        file.write_text('{"good": "2", "bad": []}', encoding="utf8")
        opts.load(str(file))
        opts.add_option("good", OptionInfo(1))
        opts.add_option("bad", OptionInfo(1))
        assert (opts.good, opts.bad) == (2, 1)
        assert "bad" in caplog.text
        assert (tmp_path / "config.json.damaged").exists()

    def test_where_it_cannot_be_written_everything_is_as_before(self, opts, tmp_path):
        (tmp_path / "file").write_text("", encoding="utf8")
        before = dict(opts.data)
        opts.set("number", 4)
        with pytest.raises(NotSaved, match="nothing was changed"):
            opts.save_or_restore(str(tmp_path / "file" / "config.json"), ["number"], before)
        assert opts.data == before

    @pytest.mark.parametrize(
        ("stored", "key", "value"),
        [
            ({"sd_vae_as_default": True}, "sd_vae_overrides_per_model_preferences", False),
            (
                {"sd_vae_as_default": True, "sd_vae_overrides_per_model_preferences": True},
                "sd_vae_overrides_per_model_preferences",
                True,
            ),
            (
                {"quicksettings": "sd_vae, CLIP_stop_at_last_layers"},
                "quicksettings_list",
                ["sd_vae", "CLIP_stop_at_last_layers"],
            ),
            ({"ui_reorder": "seed, batch"}, "ui_reorder_list", ["seed", "batch"]),
            ({"ui_reorder": "seed", "ui_reorder_list": []}, "ui_reorder_list", []),
            ({"quicksettings": 3}, "quicksettings", 3),
        ],
    )
    def test_older_files_are_understood(self, opts, tmp_path, stored, key, value):
        file = tmp_path / "config.json"
        file.write_text(json.dumps(stored), encoding="utf8")
        opts.load(str(file))
        assert opts.data[key] == value


class TestTypes:
    @pytest.mark.parametrize(
        ("x", "y", "same"), [(1, 2.5, True), (None, "a", True), ("a", 1, False), (True, 1, False), ([], ["a"], True)]
    )
    def test_same_type(self, opts, x, y, same):
        assert opts.same_type(x, y) is same

    @pytest.mark.parametrize(
        ("key", "text", "value"),
        [
            ("number", "3", 3),
            ("ratio", "3", 3.0),
            ("flag", "False", False),
            ("flag", "True", True),
            ("flag", "", False),
            ("text", 5, "5"),
            ("empty", "x", None),
            ("number", None, None),
        ],
    )
    def test_cast_value(self, opts, key, text, value):
        assert opts.cast_value(key, text) == value

    def test_cast_value_refuses_what_is_none(self, opts):
        with pytest.raises(ValueError):
            opts.cast_value("number", "1.5")
        with pytest.raises(InvalidInput, match="the setting number is '1.5'") as caught:
            opts.read_value("number", "1.5")
        assert caught.value.field == "number"

    def test_cast_value_of_a_default_of_none_follows_the_value(self, opts):
        opts.empty = 3
        assert opts.cast_value("empty", "4") == 4

    def test_get_default(self, opts):
        opts.number = 5
        assert opts.get_default("number") == 1
        assert opts.get_default("nonsense") is None


class TestDefinitions:
    def test_comments(self):
        info = OptionInfo(1, "x").link("wiki", "https://example.org").js("info", "show").info("a").html("<b>b</b>")
        info.needs_restart().needs_reload_ui()
        assert 'href="https://example.org"' in info.comment_before
        assert 'onclick="show(); return false"' in info.comment_before
        assert info.comment_after.startswith('<span class="info">(a)</span><b>b</b>')
        assert "restart" in info.comment_after
        assert "Reload UI" in info.comment_after

    def test_a_section_without_category_keeps_the_options_own(self):
        info = OptionInfo(1, category_id="mine")
        options_section(("a", "A"), {"x": info})
        assert (info.section, info.category_id) == (("a", "A"), "mine")

    def test_add_option_keeps_a_stored_value(self, opts):
        opts.data["new"] = 5
        opts.add_option("new", OptionInfo(1))
        opts.add_option("newer", OptionInfo(2))
        opts.add_option("newer_note", OptionHTML("x"))
        assert (opts.new, opts.data["newer"]) == (5, 2)
        assert "newer_note" not in opts.data

    def test_categories_keep_their_first_label(self):
        categories = options.OptionsCategories()
        assert categories.register_category("a", "First") == "a"
        categories.register_category("a", "Second")
        assert categories.mapping["a"].label == "First"

    def test_reorder_follows_category_then_title_and_keeps_the_dictionary(self, monkeypatch):
        categories = options.OptionsCategories()
        categories.register_category("first", "First")
        categories.register_category("second", "Second")
        monkeypatch.setattr(options, "categories", categories)
        labels = {
            **options_section(("u", "Uncategorised"), {"u1": OptionInfo(1)}),
            **options_section(("z", "Z", "second"), {"z1": OptionInfo(1)}),
            **options_section(("b", "b", "first"), {"b1": OptionInfo(1)}),
            **options_section(("a", "B", "first"), {"a2": OptionInfo(1), "a1": OptionInfo(1)}),
            "pageless": OptionInfo(1),
            **options_section(("z", "Z"), {"z2": OptionInfo(1)}),
        }
        opts = Options(labels, ())
        opts.reorder()
        assert list(labels) == ["a2", "a1", "b1", "z1", "z2", "pageless", "u1"]

    def test_dumpjson(self, opts, monkeypatch):
        categories = options.OptionsCategories()
        categories.register_category("cat", "Category")
        monkeypatch.setattr(options, "categories", categories)
        opts.data_labels["number"].info("count")
        opts.data_labels |= options_section(("u", "U"), {"loose": OptionInfo(1).link("a", "b")})
        opts.data_labels |= options_section((None, "Nowhere"), {"invisible": OptionInfo(2)})
        with opts.overlay({"number": 99}):
            dump = json.loads(opts.dumpjson())
        assert (dump["number"], dump["invisible"]) == (1, 2)
        assert list(dump["_comments_before"]) == ["loose"]
        assert dump["_comments_after"] == {"number": '<span class="info">(count)</span>'}
        assert dump["_categories"] == [["Page", "Category"], ["U", "Uncategorized"], ["Defaults", "Other"]]


@dataclass(frozen=True)
class Look(OptionValues):
    """Two settings that a stage might take."""

    colour: str
    width: int = 3

    @property
    def is_wide(self):
        return self.width > 5


def test_group_of_settings_has_the_values_of_the_moment():
    store = Options({"colour": OptionInfo("red"), "width": OptionInfo(7), "other": OptionInfo(1)}, set())
    before = Look.from_opts(store)
    assert (before, before.is_wide) == (Look("red", 7), True)
    store.colour = "blue"
    with store.overlay({"width": 1}):
        assert Look.from_opts(store) == Look("blue", 1)
    assert Look.from_opts(store) == Look("blue", 7)
    assert before == Look("red", 7)


def test_group_of_settings_may_come_from_a_snapshot():
    store = Options({"colour": OptionInfo("red"), "width": OptionInfo(7)}, set())
    snapshot = create_opts_snapshot(store)
    store.colour = "blue"
    assert Look.from_opts(snapshot) == Look("red", 7)


def test_group_of_settings_does_not_change():
    with pytest.raises(FrozenInstanceError):
        Look("red").colour = "blue"


def test_setting_of_a_group_that_nobody_defines_is_named():
    with pytest.raises(AttributeError, match="width"):
        Look.from_opts(Options({"colour": OptionInfo("red")}, set()))


def test_a_setting_without_a_section_stands_on_a_page_of_its_own():
    options = Options({}, set())
    options.add_option("own", OptionInfo(1, "Own"))
    options.add_option("named", OptionInfo(1, "Named", section=("mine", "Mine")))
    options.reorder()
    assert {key: info.section for key, info in options.data_labels.items()} == {
        "own": ("other", "Other"),
        "named": ("mine", "Mine"),
    }
