"""The HTML of panes, read back by a parser: what is shown, what is hidden, and that nothing breaks out of it."""

from html.parser import HTMLParser

import pytest

from modules import ui_extra_networks_html as html_of
from modules.ui_extra_networks_html import PaneStyle

EVIL = """<img src=x onerror="alert('1')">&amp;"""
VOID = {"img", "input", "br"}


class Page(HTMLParser):
    """Elements of a text in order: (tag, attributes), and the texts between them; notes what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if text.strip():
            self.texts.append(text.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(text):
    found = Page(text)
    assert found.open == []
    return found


def style(**changes):
    values = {"view": "tree", "is_view_enabled": True, "variables": {}, "sort_field": "Path", "is_descending": False}
    return PaneStyle(**values | changes)


@pytest.mark.parametrize("text", ["plain", 'quo"te', "back\\slash", "new\nline", "</script>", "tëxt", 5])
def test_texts_for_scripts_are_read_back(text):
    import json

    assert json.loads(html_of.quote_js(text)) == str(text)


@pytest.mark.parametrize("text", [EVIL, "it's", '"'])
def test_call_in_an_attribute_is_what_was_meant(text):
    attributes = page(f'<a onclick="{html_of.call("act", text, event=True)}"></a>').all("a")[0]
    assert attributes == {"onclick": f"act(event, {html_of.quote_js(text)})"}


def test_call_without_event_or_arguments():
    assert html_of.call("act") == "act()"
    assert html_of.call("act", event=True) == "act(event)"


@pytest.mark.parametrize(
    ("button", "kind", "function"),
    [
        (html_of.copy_path_button(EVIL), "copy-path", "extraNetworksCopyCardPath"),
        (html_of.metadata_button(EVIL), "metadata", "extraNetworksRequestMetadata"),
        (html_of.edit_button("txt2img", EVIL), "edit", "extraNetworksEditUserMetadata"),
    ],
    ids=["copy", "metadata", "edit"],
)
def test_buttons_of_a_card(button, kind, function):
    (attributes,) = page(button).all("button")
    assert attributes["class"] == f"{kind}-button card-button"
    assert attributes["title"] == attributes["aria-label"]
    assert attributes["onclick"].startswith(f"{function}(event")
    assert len(page(button).elements) == 1


def test_path_is_on_its_button():
    assert page(html_of.copy_path_button(EVIL)).all("button")[0]["data-clipboard-text"] == EVIL


def test_sort_keys_are_attributes():
    (attributes,) = page(f"<p{html_of.sort_attributes({'name': EVIL, 'date': 5})}></p>").all("p")
    assert attributes == {"data-sort-name": EVIL, "data-sort-date": "5"}
    assert html_of.sort_attributes({}) == ""


def test_search_terms():
    found = page(html_of.search_terms(["a", "", EVIL], search_only=False))
    assert len(found.all("span")) == 2
    assert {attributes["class"] for attributes in found.all("span")} == {"hidden-term search_terms"}
    assert "".join(found.texts[1:]) == EVIL
    (hidden,) = page(html_of.search_terms(["a"], search_only=True)).all("span")
    assert "search_only" in hidden["class"].split()


@pytest.mark.parametrize("source", [None, ""])
def test_no_preview_is_no_image(source):
    assert html_of.preview_image(source) == ""


def test_preview_is_decoration_and_loaded_late():
    (attributes,) = page(html_of.preview_image("./thumb?a=1&b=2")).all("img")
    assert attributes == {"class": "preview", "src": "./thumb?a=1&b=2", "loading": "lazy", "alt": ""}


def test_empty_pane_names_the_folders():
    found = page(html_of.nothing_here(EVIL, ["/models/a", "/models/<b>"]))
    assert len(found.all("li")) == 2
    assert found.texts[-2:] == ["/models/a", "/models/<b>"]
    assert not found.all("img")


@pytest.mark.parametrize("field", list(html_of.SORTS))
def test_chosen_order_is_pressed(field):
    found = page(html_of.controls("txt2img", "lora", "Lora", style(sort_field=field)))
    sorts = {
        button["data-sortkey"]: button["aria-pressed"] for button in found.all("button") if "data-sortkey" in button
    }
    assert len(sorts) == 4
    assert [key for key, is_pressed in sorts.items() if is_pressed == "true"] == [html_of.SORTS[field][1]]


def test_controls_have_ids_of_the_pane_and_names_for_everybody():
    found = page(html_of.controls("txt2img", "lora", EVIL, style()))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) == 9
    assert all(element_id.startswith("txt2img_lora_") for element_id in ids)
    assert all(button["aria-label"] and button["type"] == "button" for button in found.all("button"))
    assert found.all("input")[0]["aria-label"] == f"Search {EVIL}"


@pytest.mark.parametrize(("is_descending", "direction"), [(False, "Ascending"), (True, "Descending")])
def test_direction(is_descending, direction):
    text = html_of.controls("txt2img", "lora", "Lora", style(is_descending=is_descending))
    (button,) = [button for button in page(text).all("button") if "data-sortdir" in button]
    assert button["data-sortdir"] == direction
    pane = html_of.pane("txt2img", "lora", "Lora", style(is_descending=is_descending), "", "")
    assert page(pane).all("div")[0]["data-sort-direction"] == direction


@pytest.mark.parametrize("is_enabled", [True, False])
def test_folders_are_hidden_until_wanted(is_enabled):
    text = html_of.pane("txt2img", "lora", "Lora", style(is_view_enabled=is_enabled), "<ul></ul>", "<p>cards</p>")
    found = page(text)
    (folders,) = [div for div in found.all("div") if div.get("id") == "txt2img_lora_tree"]
    assert ("hidden" in folders) is not is_enabled
    (button,) = [button for button in found.all("button") if button["id"].endswith("tree_view")]
    assert button["aria-pressed"] == str(is_enabled).lower()


def test_pane_holds_folders_and_cards():
    found = page(html_of.pane("img2img", "lora", "Lora", style(view="dirs"), "<b>folder</b>", "<i>card</i>"))
    assert {"folder", "card"} <= set(found.texts)
    ids = [div.get("id") for div in found.all("div")]
    assert {"img2img_lora_pane", "img2img_lora_controls", "img2img_lora_dirs", "img2img_lora_cards"} <= set(ids)


def test_variables_of_a_pane_are_style():
    text = html_of.pane("t", "p", "P", style(variables={"--a": "1px", "--b": 'url("x")'}), "", "")
    assert page(text).all("div")[0]["style"] == '--a: 1px; --b: url("x")'


def test_unknown_order_is_that_of_the_path():
    pane = html_of.pane("t", "p", "P", style(sort_field="Weight"), "", "")
    assert page(pane).all("div")[0]["data-sort-key"] == html_of.SORTS["Path"][1]


def test_buttons_of_folders_begin_with_all():
    found = page(html_of.directory_buttons("txt2img", "lora", ["a", "a/<b>"]))
    assert found.texts == ["all", "a", "a/<b>"]
    classes = [button["class"].split() for button in found.all("button")]
    assert ["search-all" in names for names in classes] == [True, False, False]
    assert {button["onclick"] for button in found.all("button")} == {
        'extraNetworksSearchButton("txt2img", "lora", event)'
    }


def test_without_folders_there_are_no_buttons():
    assert html_of.directory_buttons("txt2img", "lora", []) == ""
    assert html_of.directory_buttons("txt2img", "lora", iter(())) == ""
