import pytest

from modules import shared, styles, ui_prompt_styles


@pytest.fixture
def database(program, tmp_path, monkeypatch):
    """A file of styles of its own, with one style."""
    path = tmp_path / "styles.csv"
    path.write_text("name,prompt,negative_prompt\nink,drawn in ink,photo\n", encoding="utf8")
    database = styles.StyleDatabase([str(path)])
    monkeypatch.setattr(shared, "prompt_styles", database)
    return path


def test_selecting_fills_the_editor(database):
    prompt, negative, delete, save = ui_prompt_styles.select_style("ink")
    assert (prompt, negative) == ("drawn in ink", "photo")
    assert delete["visible"] and save["visible"]


@pytest.mark.parametrize(("name", "can_save"), [("new", True), ("", False), (None, False)])
def test_a_new_name_keeps_what_was_typed(database, name, can_save):
    prompt, negative, delete, save = ui_prompt_styles.select_style(name)
    assert "value" not in prompt and "value" not in negative
    assert not delete["visible"] and save["visible"] == can_save


def test_saving_and_deleting_write_the_file(database):
    assert ui_prompt_styles.save_style("oil", "in oil", "flat")["visible"]
    ui_prompt_styles.save_style("ink", "in blue ink", "photo")
    text = database.read_text(encoding="utf-8-sig")
    assert "oil,in oil,flat" in text and "in blue ink" in text and "drawn in ink" not in text
    assert ui_prompt_styles.delete_style("oil") == ("", "", "")
    assert "oil" not in database.read_text(encoding="utf-8-sig")


def test_without_a_name_nothing_changes(database):
    before = database.read_text(encoding="utf8")
    assert not ui_prompt_styles.save_style("", "a", "b")["visible"]
    assert all(update["__type__"] == "update" for update in ui_prompt_styles.delete_style(""))
    assert database.read_text(encoding="utf8") == before


def test_styles_merge_into_the_prompts(database):
    prompt, negative, selection = ui_prompt_styles.materialize_styles("cat", "dog", ["ink"])
    assert (prompt["value"], negative["value"], selection["value"]) == ("cat, drawn in ink", "dog, photo", [])


def test_refresh_gives_both_lists(database):
    assert [update["choices"] for update in ui_prompt_styles.refresh_styles()] == [["ink"], ["ink"]]
