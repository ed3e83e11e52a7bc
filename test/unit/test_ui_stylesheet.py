import os
import re

import pytest

from modules import ui_gradio_extensions, ui_stylesheet
from modules.paths_internal import script_path


def test_every_file_of_the_folder_has_its_place():
    assert sorted(os.listdir(os.path.join(script_path, "css"))) == sorted(f"{part}.css" for part in ui_stylesheet.PARTS)


@pytest.mark.parametrize("path", ui_stylesheet.paths(), ids=os.path.basename)
def test_file_has_a_heading_and_whole_rules(path):
    with open(path, encoding="utf8") as file:
        text = file.read()
    assert text.startswith("/* ") and text.endswith("}\n")
    rules = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert rules.count("{") == rules.count("}") > 0


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """A style sheet of two files, the first of which is the newer one."""
    monkeypatch.setattr(ui_stylesheet, "script_path", str(tmp_path))
    monkeypatch.setattr(ui_stylesheet, "PARTS", ("second", "first"))
    (tmp_path / "css").mkdir()
    for name, time in (("first", 100), ("second", 200)):
        path = tmp_path / "css" / f"{name}.css"
        path.write_text(f"#{name} {{}}\n", encoding="utf8")
        os.utime(path, (time, time))
    return tmp_path / "css"


def test_files_are_joined_in_the_order_of_the_table(parts):
    assert ui_stylesheet.text() == "#second {}\n\n#first {}\n"


def test_address_changes_with_any_file(parts):
    assert ui_stylesheet.webpath() == "file=style.css?200.0"
    os.utime(parts / "first.css", (300, 300))
    assert ui_stylesheet.webpath() == "file=style.css?300.0"


@pytest.mark.parametrize("prefix", ["/file=", "/gradio_api/file="])
def test_style_sheet_is_served_under_the_name_it_has_always_had(client, prefix):
    answer = client.get(f"{prefix}style.css")
    assert answer.status_code == 200 and answer.text == ui_stylesheet.text()
    assert answer.headers["content-type"].startswith("text/css")
    assert "cache-control" not in answer.headers
    assert client.get(f"{prefix}style.css?1").headers["cache-control"] == "private, max-age=604800"
    assert client.head(f"{prefix}style.css").status_code == 200


def test_page_links_to_it_before_the_sheets_of_extensions_and_user(program, tmp_path, monkeypatch):
    others = [tmp_path / "extension" / "style.css", tmp_path / "user.css"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    monkeypatch.setattr(ui_gradio_extensions.scripts, "list_files_with_name", lambda name: [str(others[0])])
    monkeypatch.setattr(ui_gradio_extensions, "data_path", str(tmp_path))
    links = re.findall(
        r'<link rel="stylesheet" property="stylesheet" href="file=([^?]+)', ui_gradio_extensions.css_html()
    )
    assert links == ["style.css", *map(str, others)]
