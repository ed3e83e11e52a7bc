"""Styles: applying, finding again, files."""

import json
from pathlib import Path

import pytest

from modules import styles
from modules.styles import PromptStyle, StyleDatabase

VECTORS = json.loads((Path(__file__).parent.parent / "data" / "test_vectors.json").read_text(encoding="utf8"))


@pytest.mark.parametrize("vector", VECTORS["styles"])
def test_merge_prompts(vector):
    assert styles.merge_prompts(vector["style"], vector["prompt"]) == vector["out"]


@pytest.mark.parametrize("vector", VECTORS["style_extract"])
def test_extract_style_text(vector):
    assert list(styles.extract_style_text_from_prompt(vector["style"], vector["prompt"])) == vector["out"]


def test_parts_of_a_style_may_not_overlap():
    assert styles.extract_style_text_from_prompt("aa {prompt} aa", "aa aa") == (False, "aa aa")


def write(path, text, encoding="utf8"):
    path.write_text(text, encoding=encoding, newline="")
    return path


@pytest.fixture
def database(tmp_path):
    file = write(
        tmp_path / "styles.csv",
        "name,prompt,negative_prompt\r\nart,art,ugly\r\nphoto,photo of {prompt},\r\n#comment,x,y\r\nempty,,\r\n",
    )
    return StyleDatabase([file])


def test_reading(database, tmp_path):
    path = str(tmp_path / "styles.csv")
    assert list(database.styles.values()) == [
        PromptStyle("art", "art", "ugly", path),
        PromptStyle("photo", "photo of {prompt}", "", path),
        PromptStyle("empty", "", "", path),
    ]


def test_the_old_column_and_a_byte_order_mark_are_understood(tmp_path):
    file = write(tmp_path / "old.csv", "name,text\nart,by an artist\n", "utf-8-sig")
    assert StyleDatabase([file]).styles["art"] == PromptStyle("art", "by an artist", "", str(file))


def test_a_broken_file_is_reported_and_left_out(tmp_path, caplog):
    file = write(tmp_path / "broken.csv", "name\nart\n")
    assert StyleDatabase([file]).styles == {}
    assert "broken.csv" in caplog.text


@pytest.mark.parametrize("encoding", ["utf8", "utf-8-sig", "utf-16", "cp1252"])
def test_files_of_spreadsheets_are_read(tmp_path, encoding):
    path = tmp_path / "styles.csv"
    path.write_bytes(f"name,prompt,negative_prompt\ncafé\0,{'x' * 200_000},\nb,é,\n".encode(encoding))
    styles = StyleDatabase([path]).styles
    assert list(styles) == ["café", "b"]
    assert (len(styles["café"].prompt), styles["b"].prompt) == (200_000, "é")


def test_applying(database):
    assert database.apply_styles_to_prompt("a cat", ["photo", "nonsense", "art"]) == "photo of a cat, art"
    assert database.apply_negative_styles_to_prompt("", ["art", "photo"]) == "ugly"
    assert database.get_style_prompts(["art", "nonsense"]) == ["art", ""]
    assert database.get_negative_style_prompts(["art", "nonsense"]) == ["ugly", ""]


def test_finding_styles_again_in_the_order_they_were_applied(database):
    names = ["photo", "art"]
    prompt = database.apply_styles_to_prompt("a cat", names)
    negative = database.apply_negative_styles_to_prompt("", names)
    assert database.extract_styles_from_prompt(prompt, negative) == (names, "a cat", "")


def test_a_style_found_in_one_prompt_only_is_left_there(database):
    assert database.extract_styles_from_prompt("a cat, art", "") == ([], "a cat, art", "")


def test_saving_and_reading_give_the_same(database, tmp_path):
    database.styles["new"] = PromptStyle("new", 'with "quotes", commas', "zwei\nZeilen", None)
    before = database.styles.copy()
    database.save_styles()
    database.reload()
    assert database.styles == before | {"new": before["new"]._replace(path=str(tmp_path / "styles.csv"))}
    assert (tmp_path / "styles.csv").read_bytes().startswith(b"\xef\xbb\xbfname,prompt,negative_prompt")
    assert "#comment" in (tmp_path / "styles.csv.bak").read_text(encoding="utf8")


class TestSeveralFiles:
    @pytest.fixture
    def several(self, tmp_path):
        write(tmp_path / "b.csv", "name,prompt,negative_prompt\nb1,b,\n")
        write(tmp_path / "a.csv", "name,prompt,negative_prompt\na1,a,\n")
        return StyleDatabase([str(tmp_path / "?.csv"), tmp_path / "missing.csv", tmp_path / "a.csv"])

    def test_each_begins_with_a_divider(self, several):
        assert list(several.styles) == [
            "------------------ A -------------------",
            "a1",
            "------------------ B -------------------",
            "b1",
            "--------------- MISSING ----------------",
        ]
        assert several.apply_styles_to_prompt("x", several.styles) == "x, a, b"

    def test_each_style_is_saved_to_its_own(self, several, tmp_path):
        several.styles["new"] = PromptStyle("new", "n", "", None)
        del several.styles["b1"]
        several.save_styles()
        assert "new" in (tmp_path / "a.csv").read_text(encoding="utf8")
        assert (tmp_path / "b.csv").read_text(encoding="utf-8-sig").strip() == "name,prompt,negative_prompt"
        assert not (tmp_path / "missing.csv").exists()

    def test_a_pattern_without_files_stands_for_styles_csv(self, tmp_path):
        database = StyleDatabase([tmp_path / "*.csv"])
        database.styles["new"] = PromptStyle("new", "n", "", None)
        database.save_styles()
        assert (tmp_path / "styles.csv").exists()
