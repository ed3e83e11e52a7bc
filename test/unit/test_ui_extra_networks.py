"""Pages of extra networks: items, cards, folders, notes and the requests of the page."""

import base64
import html
import io
import json
import os
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from modules import errors, shared, ui_extra_networks, ui_extra_networks_html
from modules.ui_extra_networks_page import (
    ExtraNetworksItem,
    ExtraNetworksPage,
    get_tree,
    path_is_parent,
    subdirectories,
)


class FilesPage(ExtraNetworksPage):
    """Lists the .net files of a folder, as a page of an extension would."""

    def __init__(self, folder):
        super().__init__("Test Networks")
        self.folder = str(folder)
        self.file_metadata = {}

    def create_item(self, name, index=None, enable_filter=True):
        path = next((path for path in self.paths() if os.path.basename(path) == f"{name}.net"), None)
        if path is None:
            return None
        stem = os.path.splitext(path)[0]
        return {
            "name": name,
            "filename": path,
            "preview": self.find_preview(stem),
            "description": self.find_description(stem),
            "search_terms": [self.search_terms_from_path(path), "hash of it"],
            "prompt": ui_extra_networks.quote_js(f"<test:{name}:1>"),
            "local_preview": f"{stem}.png",
            "metadata": self.file_metadata.get(name),
            "sort_keys": {"default": index, **self.get_sort_keys(path)},
        }

    def paths(self):
        walked = sorted(os.walk(self.folder))
        return [os.path.join(folder, name) for folder, _, names in walked for name in names if name.endswith(".net")]

    def list_items(self):
        for index, path in enumerate(self.paths()):
            yield self.create_item(os.path.splitext(os.path.basename(path))[0], index)

    def allowed_directories_for_previews(self):
        return [self.folder]


@pytest.fixture
def folder(tmp_path):
    """networks/: one.net, sub/two.net, .hidden/three.net"""
    root = tmp_path / "networks"
    for name in ("one.net", "sub/two.net", ".hidden/three.net"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("weights")
    return root


@pytest.fixture
def page(folder, app):
    """The page, registered beside the default ones for the test."""
    page = FilesPage(folder)
    registered = list(ui_extra_networks.extra_pages)
    ui_extra_networks.register_page(page)
    yield page
    ui_extra_networks.initialize()
    for known in registered:
        ui_extra_networks.register_page(known)


@pytest.fixture
def option(app):
    """Sets settings for the test: option(key=value)."""
    with shared.opts.overlay({}) as values:
        yield values.update


class Elements(HTMLParser):
    """All start tags of a text as (name, attributes)."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def with_class(self, name):
        return [attributes for _, attributes in self.found if name in (attributes.get("class") or "").split()]


def cards(text):
    return {attributes["data-name"]: attributes for attributes in Elements(text).with_class("card")}


class TestCards:
    def test_every_item_has_one(self, page):
        assert set(cards(page.create_html("txt2img"))) == {"one", "two", "three"}

    def test_click_names_the_tab_and_the_text(self, page):
        card = cards(page.create_html("img2img"))["one"]
        assert card["onclick"] == 'return cardClicked("img2img", "<test:one:1>", "", false);'

    def test_sort_keys(self, page):
        card = cards(page.create_html("txt2img"))["two"]
        assert card["data-sort-name"] == "two.net"
        assert int(card["data-sort-date_created"]) == int(os.stat(page.items["two"]["filename"]).st_mtime)
        assert card["data-sort-default"] == "2"

    def test_names_are_escaped(self, page, folder):
        name = '"><img src=x onerror=alert(1)>'
        (folder / f"{name}.net").write_text("x")
        text = page.create_html("txt2img")
        assert name in cards(text)
        assert not [tag for tag, attributes in Elements(text).found if tag == "img" and "onerror" in attributes]

    def test_description_is_escaped_unless_the_user_wants_html(self, page, folder, option):
        (folder / "one.txt").write_text("<b>fat</b>")
        assert "&lt;b&gt;fat" in page.create_html("txt2img")
        option(extra_networks_card_description_is_html=True)
        assert '<span class="description"><b>fat</b></span>' in page.create_html("txt2img")
        option(extra_networks_card_show_desc=False)
        assert "fat" not in page.create_html("txt2img")

    def test_search_terms_start_with_the_folders_name(self, page):
        page.create_html("txt2img")
        assert page.items["two"]["search_terms"] == [os.path.join("networks", "sub", "two.net"), "hash of it"]

    @pytest.mark.parametrize(("choice", "is_there", "is_for_search"), [
        ("When searched", True, True), ("Always", True, False), ("Never", False, False)
    ])  # fmt: skip
    def test_hidden_folders(self, page, option, choice, is_there, is_for_search):
        option(extra_networks_hidden_models=choice)
        text = page.create_html("txt2img")
        assert ("three" in cards(text)) == is_there
        assert bool(Elements(text).with_class("search_only")) == is_for_search

    def test_parts_without_template(self, page):
        page.create_html("txt2img")
        parts = page.create_item_html("txt2img", page.items["one"])
        assert parts["name"] == "one"
        assert page.card_tpl.format(**parts) == page.create_item_html("txt2img", page.items["one"], page.card_tpl)

    def test_extensions_onclick_is_taken_as_it_is(self, page):
        page.create_html("txt2img")
        item = {**page.items["one"], "onclick": '"doSomething()"'}
        assert cards(page.create_item_html("txt2img", item, page.card_tpl))["one"]["onclick"] == "doSomething()"

    def test_frame_before_anything_is_listed(self, page):
        text = page.create_html("txt2img", empty=True)
        assert "Loading" in text and not cards(text)
        assert 'id="txt2img_test_networks_cards"' in text

    def test_no_items_name_the_folders(self, page, tmp_path):
        page.folder = str(tmp_path / "empty & new")
        assert html.escape(page.folder) in page.create_html("txt2img")

    def test_settings_set_sizes_for_the_pane(self, page, option):
        option(extra_networks_card_width=200, extra_networks_card_text_scale=1.5)
        style = Elements(page.create_html("txt2img")).with_class("extra-network-pane")[0]["style"]
        assert "--card-width: 200px" in style and "--card-text-scale: 1.5" in style
        assert "--card-height" not in style


class TestControls:
    IDS = [
        "pane",
        "controls",
        "extra_search",
        "extra_sort_path",
        "extra_sort_name",
        "extra_sort_date_created",
        "extra_sort_date_modified",
        "extra_sort_dir",
        "extra_tree_view",
        "extra_refresh",
        "dirs",
        "cards",
    ]

    def test_ids(self, page):
        ids = [attributes.get("id") for _, attributes in Elements(page.create_html("txt2img")).found]
        assert {f"txt2img_test_networks_{name}" for name in self.IDS} <= set(ids)

    def test_initial_order_is_that_of_the_settings(self, page, option):
        option(extra_networks_card_order_field="Date Modified", extra_networks_card_order="Descending")
        elements = Elements(page.create_html("txt2img"))
        pressed = [a["id"] for a in elements.with_class("extra-network-control--sort") if a["aria-pressed"] == "true"]
        assert pressed == ["txt2img_test_networks_extra_sort_date_modified"]
        assert elements.with_class("extra-network-control--sort-dir")[0]["data-sortdir"] == "Descending"

    def test_every_button_has_a_name(self, page):
        buttons = [a for tag, a in Elements(page.create_html("txt2img")).found if tag == "button" and "title" in a]
        assert len(buttons) >= 13
        assert all(button.get("aria-label") for button in buttons)


class TestFolders:
    def test_buttons(self, page):
        text = page.create_dirs_view_html("txt2img")
        assert re.findall(r">([^<>\n]+)</button>", text) == ["all", f".hidden{os.sep}", f"sub{os.sep}"]

    def test_settings_of_buttons(self, folder, option):
        (folder / "empty").mkdir()
        option(extra_networks_show_hidden_directories=False, extra_networks_dir_button_function=True)
        assert list(subdirectories(str(folder))) == [f"{os.sep}empty", f"{os.sep}sub{os.sep}"]

    def test_no_buttons_without_folders(self, page, tmp_path):
        page.folder = str(tmp_path / "nothing")
        assert page.create_dirs_view_html("txt2img") == ""

    def test_tree(self, page, option):
        option(extra_networks_tree_view_style="Tree")
        elements = Elements(page.create_html("txt2img"))
        paths = [attributes["data-path"] for attributes in elements.with_class("tree-list-content-dir")]
        assert paths == [os.path.join("networks", ""), os.path.join("networks", "sub", "")]
        files = [attributes["data-name"] for attributes in elements.with_class("tree-list-content-file")]
        assert files == ["two", "one"]

    def test_get_tree_nests_folders(self, tmp_path):
        root = str(tmp_path)
        items = {os.path.join(root, *parts): ExtraNetworksItem({}) for parts in (["a"], ["s", "b"], ["s", "t", "c"])}
        sub = os.path.join(root, "s")
        tree = get_tree([root, sub], items)
        assert list(tree) == [root]
        assert set(tree[root]) == {os.path.join(root, "a"), sub}
        assert os.path.join(sub, "t", "c") in tree[root][sub][os.path.join(sub, "t")]

    def test_path_is_parent(self, tmp_path):
        root = str(tmp_path)
        assert path_is_parent(root, os.path.join(root, "a", "b"))
        assert not path_is_parent(root, root)
        assert not path_is_parent(root, root + "-other")
        assert not path_is_parent(root, os.path.join(root, "..", "a"))


class TestPreviews:
    @pytest.mark.parametrize("name", ["one.png", "one.preview.webp", "one.jpeg"])
    def test_picture_beside_the_file(self, page, folder, name):
        Image.new("RGB", (4, 4)).save(folder / name)
        page.create_html("txt2img")
        assert name in page.items["one"]["preview"]
        assert "mtime=" in page.items["one"]["preview"]

    def test_thumb_sends_it(self, page, folder, client):
        Image.new("RGB", (4, 4), "red").save(folder / "one.png")
        text = page.create_html("txt2img")
        (image,) = [attributes for tag, attributes in Elements(text).found if tag == "img"]
        response = client.get(image["src"].removeprefix("."))
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/png"
        assert response.headers["accept-ranges"] == "bytes"

    @pytest.mark.parametrize("asked", [
        "secret.png", "networks/../secret.png", "networks/one.net", "networks/missing.png", "networks", ""
    ])  # fmt: skip
    def test_thumb_sends_nothing_else(self, page, folder, client, asked):
        Image.new("RGB", (4, 4)).save(folder.parent / "secret.png")
        path = f"{folder.parent}/{asked}" if asked else ""
        response = client.get("/sd_extra_networks/thumb", params={"filename": path})
        assert response.status_code == 404
        assert response.json()["detail"] == "File not found"

    @pytest.mark.parametrize(("target", "status"), [("elsewhere/one.png", 200), ("elsewhere/key.pem", 404)])
    def test_thumb_follows_links_to_pictures(self, page, folder, client, target, status):
        (folder.parent / "elsewhere").mkdir()
        Image.new("RGB", (4, 4)).save(folder.parent / "elsewhere" / "one.png")
        (folder.parent / "elsewhere" / "key.pem").write_text("secret")
        (folder / "one.png").symlink_to(folder.parent / target)
        response = client.get("/sd_extra_networks/thumb", params={"filename": f"{folder}/one.png"})
        assert response.status_code == status

    def test_embedded_preview(self, page):
        metadata = {"ssmd_cover_images": "[]"}
        assert page.find_embedded_preview("", "a b", metadata) == (
            "./sd_extra_networks/cover-images?page=test+networks&item=a+b"
        )
        assert page.find_embedded_preview("", "a", {}) is None
        assert page.find_embedded_preview("", "a", None) is None

    def test_cover_images(self, page, client):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), "blue").save(buffer, "JPEG")
        encoded = base64.b64encode(buffer.getvalue()).decode()
        page.file_metadata = {"one": {"ssmd_cover_images": json.dumps([encoded, ""])}}
        page.create_html("txt2img")
        asked = {"page": "test networks", "item": "one"}
        response = client.get("/sd_extra_networks/cover-images", params=asked)
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/jpeg"
        assert response.content == buffer.getvalue()
        for change in ({"index": 1}, {"index": 9}, {"index": -1}, {"item": "two"}, {"page": "no such page"}):
            assert client.get("/sd_extra_networks/cover-images", params=asked | change).status_code == 404


class TestMetadata:
    def test_without_pictures(self, page, client):
        page.file_metadata = {"one": {"ssmd_cover_images": "[]", "author": "Zoë"}}
        page.create_html("txt2img")
        answer = client.get("/sd_extra_networks/metadata", params={"page": "test networks", "item": "one"}).json()
        assert json.loads(answer["metadata"]) == {"author": "Zoë"}
        assert "Zoë" in answer["metadata"]

    @pytest.mark.parametrize("asked", [{"page": "test networks", "item": "two"}, {"page": "unknown"}, {}])
    def test_unknown(self, page, client, asked):
        assert client.get("/sd_extra_networks/metadata", params=asked).json() == {}

    def test_button_only_where_there_is_any(self, page):
        page.file_metadata = {"one": {"author": "me"}}
        assert len(Elements(page.create_html("txt2img")).with_class("metadata-button")) == 1


class TestSingleCard:
    def test_is_read_anew(self, page, folder, client):
        page.create_html("txt2img")
        (folder / "one.json").write_text(json.dumps({"description": "noted meanwhile"}))
        asked = {"page": "test networks", "tabname": "txt2img", "name": "one"}
        text = client.get("/sd_extra_networks/get-single-card", params=asked).json()["html"]
        assert "noted meanwhile" in text and cards(text)["one"]["data-sort-default"] == "0"

    def test_tab_name_is_escaped(self, page, client):
        page.create_html("txt2img")
        asked = {"page": "test networks", "tabname": '"><script>', "name": "one"}
        assert "<script>" not in client.get("/sd_extra_networks/get-single-card", params=asked).json()["html"]

    @pytest.mark.parametrize("asked", [{"page": "test networks", "name": "nobody"}, {"page": "unknown", "name": "one"}])
    def test_unknown(self, page, client, asked):
        page.create_html("txt2img")
        assert client.get("/sd_extra_networks/get-single-card", params=asked).status_code == 404


class TestUserMetadata:
    @pytest.fixture
    def editor(self, page):
        page.create_html("txt2img")
        return page.create_user_metadata_editor(None, "txt2img")

    def test_values(self, editor, folder):
        (folder / "one.txt").write_text("from a text file")
        editor.page.create_html("txt2img")
        name, description, facts, card, notes = editor.put_values_into_components("one")
        assert (name, description, notes) == ("one", "from a text file", "")
        assert "one.net" in facts and "7B" in facts.replace(" ", "")
        assert "standalone-card" in card

    def test_saving_keeps_other_keys(self, editor, folder):
        (folder / "one.json").write_text(json.dumps({"activation text": "trigger", "notes": "old"}))
        editor.page.create_html("txt2img")
        editor.save_user_metadata("one", "described", "new")
        assert json.loads((folder / "one.json").read_text()) == {
            "activation text": "trigger",
            "description": "described",
            "notes": "new",
        }

    def test_unknown_names_write_nothing(self, editor, folder):
        with pytest.raises(errors.NotFound):
            editor.save_user_metadata("../one", "d", "n")
        assert not list(folder.parent.glob("*.json"))

    def test_facts_of_a_file_that_is_gone(self, editor, folder):
        os.unlink(folder / "one.net")
        assert dict(editor.get_metadata_table("one"))["Error"]
        assert editor.get_metadata_table("nobody") == []

    def test_preview_from_the_gallery(self, editor, folder):
        pictures = [(Image.new("RGB", (4, 4), color), None) for color in ("red", "green")]
        pictures[1][0].info["parameters"] = "a prompt\nSteps: 5"
        card, message = editor.save_preview("1", pictures, "one")
        assert message == "" and "one.png" in card
        with Image.open(folder / "one.png") as saved:
            assert saved.getpixel((0, 0)) == (0, 128, 0)
            assert saved.info["parameters"].startswith("a prompt")

    def test_no_selection_takes_the_first_picture(self, editor, folder):
        editor.save_preview("-1", [(Image.new("RGB", (4, 4), "red"), None), (Image.new("RGB", (4, 4)), None)], "one")
        with Image.open(folder / "one.png") as saved:
            assert saved.getpixel((0, 0)) == (255, 0, 0)

    def test_empty_gallery_says_so(self, editor, folder):
        _, message = editor.save_preview("-1", None, "one")
        assert "no picture" in message
        assert not (folder / "one.png").exists()


class TestRegistry:
    def test_default_pages(self, app):
        names = [page.name for page in ui_extra_networks.extra_pages]
        assert names == ["textual inversion", "hypernetworks", "checkpoints", "lora"]

    def test_order_of_the_setting(self, app, option):
        option(ui_extra_networks_tab_reorder="Check, hyper")
        pages = ui_extra_networks.pages_in_preferred_order(ui_extra_networks.extra_pages)
        assert [page.title for page in pages] == ["Checkpoints", "Hypernetworks", "Textual Inversion", "Lora"]

    def test_page_registered_again_is_there_once(self, app):
        before = list(ui_extra_networks.extra_pages)
        try:
            ui_extra_networks.register_page(type(before[0])())
            names = [page.name for page in ui_extra_networks.extra_pages]
            assert sorted(names) == sorted(page.name for page in before)
        finally:
            ui_extra_networks.extra_pages[:] = before

    def test_registering_allows_the_pages_folders(self, page):
        assert page.folder in ui_extra_networks.allowed_dirs

    def test_quote_js(self):
        assert ui_extra_networks.quote_js('a "b" \\ c\n') == '"a \\"b\\" \\\\ c\\n"'

    def test_call_is_safe_in_an_attribute(self):
        text = ui_extra_networks_html.call("f", 'x" onload="y', event=True)
        assert Elements(f'<b onclick="{text}">').found == [("b", {"onclick": 'f(event, "x\\" onload=\\"y")'})]
