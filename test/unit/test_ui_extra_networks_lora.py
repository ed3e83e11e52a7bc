"""The page of Lora networks: which are shown, what their cards insert, and the editor of notes about them."""

import base64
import html
import io
import json
import os
import re
import struct
from types import SimpleNamespace

import gradio as gr
import pytest
from PIL import Image

from modules import sd_models, shared, ui_extra_networks
from test.unit.test_ui_extra_networks import Elements, cards

TAGS = {"10_a": {"cat (animal)": 20, " sofa ": 5}, "2_b": {"cat (animal)": 10, "rug": 1}}


@pytest.fixture(scope="module")
def lora(program):
    """The modules of the extension, as the program has loaded them."""
    import networks
    import ui_edit_user_metadata
    import ui_extra_networks_lora

    return SimpleNamespace(networks=networks, page=ui_extra_networks_lora, editor=ui_edit_user_metadata)


@pytest.fixture
def folder(tmp_path, monkeypatch, lora):
    """An empty folder of networks."""
    monkeypatch.setattr(shared.cmd_opts, "lora_dir", str(tmp_path / "Lora"))
    monkeypatch.setattr(shared.cmd_opts, "lyco_dir_backcompat", str(tmp_path / "LyCORIS"))
    (tmp_path / "Lora").mkdir()
    yield tmp_path / "Lora"
    monkeypatch.undo()
    lora.networks.list_available_networks()


@pytest.fixture
def write(folder):
    """write(name, notes, **metadata): a network of that path below the folder, with notes beside it."""

    def write(name, notes=None, **metadata):
        path = folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        header = json.dumps({"__metadata__": texts} if texts else {}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        if notes is not None:
            path.with_suffix(".json").write_text(json.dumps(notes), encoding="utf8")
        return path

    return write


@pytest.fixture
def page(folder, lora, app):
    """The page the program has registered."""
    return next(page for page in ui_extra_networks.extra_pages if page.name == "lora")


@pytest.fixture
def shown(page):
    """Lists the networks and returns the cards by name."""

    def shown():
        page.refresh()
        return cards(page.create_html("txt2img"))

    return shown


@pytest.fixture
def model(monkeypatch, lora):
    """model(version): has the page think that a checkpoint of this version is loaded."""

    def set_version(version):
        architecture = version.lower() if version else "other"
        loaded = SimpleNamespace(family=SimpleNamespace(architecture=architecture))
        monkeypatch.setattr(sd_models.model_data, "sd_model", loaded)

    return set_version


class TestCards:
    @pytest.mark.parametrize(("notes", "prompt", "negative"), [
        (None, '"<lora:a:" + opts.extra_networks_default_multiplier + ">"', '""'),
        ({"preferred weight": 0.75}, '"<lora:a:" + 0.75 + ">"', '""'),
        (
            {"activation text": 'sks "cat"', "preferred weight": 0, "negative text": "dog"},
            '"<lora:a:" + opts.extra_networks_default_multiplier + "> sks \\"cat\\""',
            '"(dog:1)"',
        ),
        (
            {"activation text": [], "preferred weight": "a", "negative text": 5, "description": 7, "sd version": {}},
            '"<lora:a:" + opts.extra_networks_default_multiplier + ">"',
            '""',
        ),
        ({"preferred weight": float("nan")}, '"<lora:a:" + opts.extra_networks_default_multiplier + ">"', '""'),
        ([], '"<lora:a:" + opts.extra_networks_default_multiplier + ">"', '""'),
    ])  # fmt: skip
    def test_click(self, write, shown, notes, prompt, negative):
        write("a", notes)
        assert shown()["a"]["onclick"] == f'return cardClicked("txt2img", {prompt}, {negative}, false);'

    def test_name_in_the_tag(self, write, shown, settings, lora):
        write("file", ss_output_name="maker's")
        write("one", ss_output_name="shared")
        write("two", ss_output_name="shared")
        write("x:y <z>", ss_output_name="p=q")

        def tags():
            return {name: re.search(r"<lora:([^:]*):", card["onclick"])[1] for name, card in shown().items()}

        expected = {"file": "maker's", "one": "one", "two": "two", "x:y <z>": "p_q"}
        assert tags() == expected
        settings(lora_preferred_name="Filename")
        assert tags() == {"file": "file", "one": "one", "two": "two", "x:y <z>": "x_y _z_"}
        for name, tag in (expected | tags()).items():
            assert lora.networks.find(tag).name == name

    def test_a_tag_finds_the_network_of_its_card(self, write, shown, lora):
        write("a", ss_output_name="b")
        write("b", ss_output_name="c")
        write("sub/a")
        for name, card in shown().items():
            assert lora.networks.find(re.search(r"<lora:([^:]*):", card["onclick"])[1]).name == name
        assert len(shown()) == 3

    def test_description_preview_and_search(self, write, shown, page, folder):
        write("sub/a", {"description": "noted"}, sshs_model_hash="0123456789abcdef")
        write("b")
        (folder / "b.txt").write_text("beside it", encoding="utf8")
        Image.new("RGB", (4, 4)).save(folder / "b.preview.png")
        shown()
        assert page.items["a"]["description"] == "noted" and page.items["b"]["description"] == "beside it"
        assert page.items["a"]["search_terms"] == [os.path.join("Lora", "sub", "a.safetensors"), "0123456789abcdef"]
        assert page.items["a"]["shorthash"] == "0123456789ab"
        assert "b.preview.png" in page.items["b"]["preview"]
        assert page.items["b"]["local_preview"] == str(folder / "b.png")

    def test_image_inside_the_file(self, write, shown, page, client):
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), "blue").save(buffer, "PNG")
        write("a", ssmd_cover_images=json.dumps([base64.b64encode(buffer.getvalue()).decode()]))
        shown()
        response = client.get(page.items["a"]["preview"].removeprefix("."))
        assert response.content == buffer.getvalue()

    def test_metadata_are_read_when_somebody_asks(self, write, page, shown, client):
        path = write("a", ss_tag_frequency=TAGS, author="Zoë")
        write("b")
        shown()
        assert len(Elements(page.create_html("txt2img")).with_class("metadata-button")) == 1
        answer = client.get("/sd_extra_networks/metadata", params={"page": "lora", "item": "a"}).json()
        assert json.loads(answer["metadata"]) == {"author": "Zoë", "ss_tag_frequency": TAGS}
        path.unlink()
        assert shown().keys() == {"b"}

    @pytest.mark.skipif(os.name == "nt", reason="names that Windows has not")
    def test_odd_names_and_files_do_not_take_the_page_down(self, write, shown, folder):
        names = ["a, b", "quo\"te's", "<img src=x onerror=alert(1)>", "日本語 🎨", "a&amp;b", "per{cent}%s"]
        for name in names:
            write(name, {"activation text": name}, ss_output_name=name)
        write("surrogate", ss_output_name="\ud800", author="\udfff")
        (folder / "damaged.safetensors").write_bytes(b"<html>")
        (folder / "broken.safetensors").symlink_to(folder / "nothing")
        (folder / "noted.pt").write_bytes(b"")
        (folder / "noted.json").write_text("{", encoding="utf8")
        found = shown()
        assert set(found) == {*names, "surrogate", "damaged", "noted"}

    def test_a_file_that_vanishes_after_it_was_listed(self, write, page, client):
        path = write("a", {"description": "noted"}, author="me")
        page.refresh()
        path.unlink()
        path.with_suffix(".json").unlink()
        assert cards(page.create_html("txt2img"))["a"]["data-sort-date_created"] == "0"
        asked = {"page": "lora", "item": "a", "name": "a", "tabname": "txt2img"}
        assert client.get("/sd_extra_networks/metadata", params=asked).json() == {"metadata": "{}"}
        assert client.get("/sd_extra_networks/get-single-card", params=asked).status_code == 200
        assert client.get("/sdapi/v1/loras").json()[0]["metadata"] == {}
        editor = page.create_user_metadata_editor(None, "txt2img")
        assert "No such file" in editor.put_values_into_components("a")[2]

    def test_half_a_pair_of_surrogates_can_be_sent(self, write, page, client):
        write("a", {"description": "\ud800"}, ss_output_name="\ud800", ss_tag_frequency={"a": {"\ud800": 1}})
        page.refresh()
        page.create_html("txt2img").encode()
        assert client.get("/sd_extra_networks/metadata", params={"page": "lora", "item": "a"}).status_code == 200
        assert [item["name"] for item in client.get("/sdapi/v1/loras").json()] == ["a"]


class TestVersions:
    @pytest.fixture
    def names(self, write, shown):
        write("one", ss_base_model_version="sd_v1")
        write("two", ss_v2="True")
        write("xl", ss_base_model_version="sdxl_base_v1-0")
        write("unknown")
        write("noted", {"sd version": "SDXL"}, ss_base_model_version="sd_v1")
        write("noted unknown", {"sd version": "Unknown"}, ss_base_model_version="sd_v1")
        return lambda: set(shown())

    @pytest.mark.parametrize(("version", "fitting"), [
        ("SD1", {"one"}), ("SD2", {"two"}), ("SDXL", {"xl", "noted"}), (None, {"one", "two", "xl", "noted"})
    ])  # fmt: skip
    def test_those_of_other_models_are_hidden(self, names, model, settings, version, fitting):
        model(version)
        assert names() == fitting | {"unknown", "noted unknown"}
        settings(lora_hide_unknown_for_versions=[version or "SD1"])
        assert names() == (fitting if version else fitting | {"unknown", "noted unknown"})
        settings(lora_show_all=True)
        assert len(names()) == 6

    def test_the_model_that_is_loaded_counts(self, names, sd_model):
        assert names() == {"one", "unknown", "noted unknown"}

    def test_a_model_that_is_still_to_be_loaded_counts_without_being_loaded(self, names, lora, monkeypatch, tmp_path):
        monkeypatch.setattr(sd_models.model_data, "sd_model", None)
        assert names() == {"one", "unknown", "noted unknown"}
        for name, content in (("old.ckpt", b""), ("damaged.safetensors", b"<html>"), ("gone.safetensors", None)):
            if content is not None:
                (tmp_path / name).write_bytes(content)
            checkpoint = SimpleNamespace(filename=str(tmp_path / name))
            monkeypatch.setattr(sd_models, "select_checkpoint", lambda info=checkpoint: info)
            assert lora.page.version_of_model() is None
        assert sd_models.model_data.sd_model is None

    def test_a_card_that_is_asked_for_comes_in_any_case(self, names, client, model):
        model(None)
        names()
        model("SD2")
        asked = {"page": "lora", "tabname": "txt2img", "name": "xl"}
        assert 'data-name="xl"' in client.get("/sd_extra_networks/get-single-card", params=asked).json()["html"]


class TestTags:
    def test_counts_of_all_datasets(self, lora):
        assert lora.editor.build_tags({"ss_tag_frequency": TAGS}) == [("cat (animal)", 30), ("sofa", 5), ("rug", 1)]

    @pytest.mark.parametrize("value", [None, "text", [], {"a": []}, {"a": {"tag": "many"}}, {"a": {" ": 3}}])
    def test_what_is_no_count(self, lora, value):
        assert lora.editor.build_tags({"ss_tag_frequency": value}) == []

    def test_words_of_sentences(self, lora):
        captions = {"a cat sits on the red sofa at noon": 2, "the cat is on a big green rug": 1}
        tags = dict(lora.editor.build_tags({"ss_tag_frequency": {"a": captions}}))
        assert tags["cat"] == 3 and tags["sofa"] == 2 and "on" not in tags

    @pytest.mark.parametrize(("text", "result"), [
        ("", "cat"), ("dog", "dog, cat"), ("dog,cat , sofa", "dog, sofa"), ("cat", ""), ("catfish", "catfish, cat")
    ])  # fmt: skip
    def test_a_click_toggles(self, lora, text, result):
        assert lora.editor.toggled("cat", text) == result

    def test_random_prompt(self, lora, monkeypatch):
        tags = [("cat (animal)", 30), ("sofa", 5)]
        monkeypatch.setattr(lora.editor.random, "random", lambda: 0.1)
        assert lora.editor.random_prompt(tags) == r"cat \(animal\), sofa"
        monkeypatch.setattr(lora.editor.random, "random", lambda: 0.5)
        assert lora.editor.random_prompt(tags) == r"cat \(animal\)"
        assert lora.editor.random_prompt([]) == ""


class TestEditor:
    @pytest.fixture
    def editor(self, page, shown):
        shown()
        return page.create_user_metadata_editor(None, "txt2img")

    def test_what_is_saved_comes_back(self, write, shown, page, editor, folder):
        write("a", {"own key": 1}, ss_tag_frequency=TAGS, ss_network_dim="32")
        shown()
        editor.save_lora_user_metadata("a", "d", "SDXL", "cat, ü", 0.6, "dog", "n")
        stored = json.loads((folder / "a.json").read_text(encoding="utf8"))
        assert stored == {
            "own key": 1,
            "description": "d",
            "sd version": "SDXL",
            "activation text": "cat, ü",
            "preferred weight": 0.6,
            "negative text": "dog",
            "notes": "n",
        }
        assert page.create_item("a", enable_filter=False)["sd_version"] == "SDXL"
        page.items["a"] = page.create_item("a", enable_filter=False)
        _, description, facts, _, notes, version, tags, activation, weight, negative, row, prompt = (
            editor.put_values_into_components("a")
        )
        assert (description, notes, version, activation, weight, negative) == ("d", "n", "SDXL", "cat, ü", 0.6, "dog")
        assert tags["value"] == [("cat (animal)", "30"), ("sofa", "5"), ("rug", "1")] and tags["visible"]
        assert row["visible"] and prompt.startswith(r"cat \(animal\)")
        assert "Rank" in facts and "32" in facts

    def test_a_network_without_anything(self, write, shown, editor):
        write("a")
        shown()
        values = editor.put_values_into_components("a")
        assert values[5] == "Unknown" and values[7:10] == ["", 0, ""] and values[11] == ""
        assert not values[6]["visible"] and not values[10]["visible"]

    def test_a_card_that_is_gone(self, editor):
        with pytest.raises(Exception, match="has no item 'gone'"):
            editor.save_lora_user_metadata("gone", "", "SD1", "", 0, "", "")

    def test_fields(self, app):
        blocks = shared.demo.blocks.values()
        box = next(block for block in blocks if block.elem_id == "txt2img_lora_edit_user_metadata")

        def below(block):
            for child in getattr(block, "children", []):
                yield child
                yield from below(child)

        labels = [
            block.label for block in below(box) if isinstance(block, gr.components.FormComponent | gr.HighlightedText)
        ]
        wanted = [
            "Description",
            "Stable Diffusion version",
            "Training dataset tags",
            "Activation text",
            "Preferred weight",
            "Negative prompt",
            "Random prompt",
            "Notes",
        ]
        assert [label for label in labels if label in wanted] == wanted
        slider = next(block for block in below(box) if isinstance(block, gr.Slider))
        assert (slider.minimum, slider.maximum, slider.step) == (0, 2, 0.01)

    def test_saving_renews_the_card(self, write, shown, page, editor, client):
        write("a", ss_base_model_version="sd_v1")
        shown()
        editor.save_lora_user_metadata("a", "", "SD1", "sks", 0.5, "", "")
        asked = {"page": "lora", "tabname": "txt2img", "name": "a"}
        card = cards(client.get("/sd_extra_networks/get-single-card", params=asked).json()["html"])["a"]
        assert '"<lora:a:" + 0.5 + "> sks"' in html.unescape(card["onclick"])

    def test_files_written_by_others_renew_the_card(self, write, shown, client, folder):
        write("a")
        shown()
        (folder / "a.json").write_text(json.dumps({"activation text": "sks", "description": "new"}), encoding="utf8")
        Image.new("RGB", (4, 4)).save(folder / "a.png")
        asked = {"page": "lora", "tabname": "txt2img", "name": "a"}
        text = client.get("/sd_extra_networks/get-single-card", params=asked).json()["html"]
        assert "> sks" in html.unescape(text) and "new" in text and "a.png" in text
