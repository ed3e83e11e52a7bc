"""The default pages of extra networks, and their place in the generation tabs."""

import json
import os
import shutil

import gradio as gr
import pytest
import torch
from PIL import Image

from modules import checkpoints, sd_hijack, sd_models, sd_vae, shared, ui_extra_networks
from modules.textual_inversion.textual_inversion import Embedding
from modules.ui_extra_networks_checkpoints import ExtraNetworksPageCheckpoints
from modules.ui_extra_networks_hypernets import ExtraNetworksPageHypernetworks
from modules.ui_extra_networks_page import path_is_parent
from modules.ui_extra_networks_textual_inversion import ExtraNetworksPageTextualInversion


@pytest.fixture
def two_of_a_name(app):
    """Checkpoints twin.safetensors and deep/twin.safetensors, listed."""
    made = []
    for folder in (sd_models.model_path, os.path.join(sd_models.model_path, "deep")):
        os.makedirs(folder, exist_ok=True)
        made.append(shutil.copy(checkpoints.embedded_checkpoint, os.path.join(folder, "twin.safetensors")))
    sd_models.list_models()
    yield made
    for path in made:
        os.unlink(path)
    os.rmdir(os.path.join(sd_models.model_path, "deep"))
    sd_models.list_models()


class TestCheckpoints:
    def test_a_click_selects_it(self, app):
        page = ExtraNetworksPageCheckpoints()
        text = page.create_html("txt2img")
        title = next(iter(sd_models.checkpoints_list))
        assert f'onclick="return selectCheckpoint(&quot;{title}&quot;)"' in text
        assert not page.allow_prompt

    def test_what_the_file_says_is_kept_for_requests(self, app):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        assert page.metadata["demo-emoji"]["modelspec.architecture"] == "stable-diffusion-v1"

    def test_files_of_one_name_have_cards_each(self, two_of_a_name):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        files = {item["filename"] for item in page.items.values()}
        assert set(two_of_a_name) <= files
        for name, item in page.items.items():
            assert page.create_item(name)["filename"] == item["filename"]

    def test_notes_on_the_embedded_one_are_kept_with_the_users_files(self, app, monkeypatch):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        editor = page.create_user_metadata_editor(None, "txt2img")
        notes = os.path.join(sd_models.model_path, "demo-emoji.json")
        assert not os.path.exists(notes)
        editor.save_user_metadata("demo-emoji", "small", "", "some.vae.pt")
        try:
            monkeypatch.setitem(sd_vae.vae_dict, "some.vae.pt", "/some.vae.pt")
            assert sd_vae.resolve_vae(checkpoints.embedded_checkpoint).vae == "/some.vae.pt"
            page.create_html("txt2img")
            assert page.items["demo-emoji"]["description"] == "small"
        finally:
            os.unlink(notes)

    def test_a_search_for_its_name_finds_the_embedded_one(self, app):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        assert "demo-emoji" in " ".join(page.items["demo-emoji"]["search_terms"])

    def test_preview_of_the_embedded_one_can_be_seen(self, app):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        preview = page.items["demo-emoji"]["local_preview"]
        assert any(path_is_parent(folder, preview) for folder in page.allowed_directories_for_previews())

    def test_unknown_name(self, app):
        assert ExtraNetworksPageCheckpoints().create_item("no such checkpoint") is None

    def test_refresh_finds_new_files(self, two_of_a_name):
        page = ExtraNetworksPageCheckpoints()
        new = shutil.copy(two_of_a_name[0], os.path.join(sd_models.model_path, "newcomer.safetensors"))
        try:
            page.refresh()
            page.create_html("txt2img")
            assert page.items["newcomer"]["local_preview"] == new.replace(".safetensors", ".png")
        finally:
            os.unlink(new)

    def test_editor_notes_the_vae(self, two_of_a_name):
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        editor = page.create_user_metadata_editor(None, "txt2img")
        name = next(name for name, item in page.items.items() if item["filename"] == two_of_a_name[1])
        editor.save_user_metadata(name, "d", "n", "some.vae.pt")
        path = two_of_a_name[1].replace(".safetensors", ".json")
        try:
            with open(path, encoding="utf8") as file:
                assert json.load(file) == {"description": "d", "notes": "n", "vae": "some.vae.pt"}
            assert editor.put_values_into_components(name)[5] == "some.vae.pt"
        finally:
            os.unlink(path)

    def test_vae_of_the_loaded_checkpoint_is_used_at_once(self, sd_model, monkeypatch):
        reloaded = []
        monkeypatch.setattr("modules.sd_vae.reload_vae_weights", reloaded.append)
        page = ExtraNetworksPageCheckpoints()
        page.create_html("txt2img")
        editor = page.create_user_metadata_editor(None, "txt2img")
        loaded = shared.sd_model.sd_checkpoint_info.filename
        editor.update_vae(next(name for name, item in page.items.items() if item["filename"] == loaded))
        assert reloaded == [shared.sd_model]


class TestTextualInversion:
    @pytest.fixture
    def embedding(self, sd_model):
        folder = shared.cmd_opts.embeddings_dir
        os.makedirs(folder, exist_ok=True)
        width = sd_hijack.model_hijack.embedding_db.get_expected_shape()
        path = os.path.join(folder, "carded.pt")
        torch.save({"string_to_param": {"*": torch.zeros(1, width)}, "name": "carded"}, path)
        Image.new("RGB", (4, 4)).save(os.path.join(folder, "carded.preview.png"))
        yield path
        os.unlink(path)
        os.unlink(os.path.join(folder, "carded.preview.png"))
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)

    def test_item(self, embedding):
        page = ExtraNetworksPageTextualInversion()
        page.refresh()
        page.create_html("txt2img")
        item = page.items["carded"]
        assert item["prompt"] == '"carded"'
        assert "carded.preview.png" in item["preview"]
        assert item["local_preview"] == embedding.replace(".pt", ".preview.png")
        assert page.allow_negative_prompt
        assert page.create_item("nothing") is None

    def test_words_bundled_with_a_network_have_no_card(self, embedding):
        database = sd_hijack.model_hijack.embedding_db
        database.set_bundled([Embedding(torch.zeros(1, database.get_expected_shape()), "brought")], shared.sd_model)
        page = ExtraNetworksPageTextualInversion()
        page.refresh()
        assert "brought" in database.word_embeddings
        assert [item["name"] for item in page.list_items()] == ["carded"]
        database.set_bundled((), shared.sd_model)


class TestHypernetworks:
    def test_multiplier_is_that_at_the_click(self, app):
        folder = shared.cmd_opts.hypernetwork_dir
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "carded.pt")
        torch.save({}, path)
        page = ExtraNetworksPageHypernetworks()
        try:
            page.refresh()
            page.create_html("txt2img")
        finally:
            os.unlink(path)
        item = page.items["carded"]
        assert item["prompt"] == '"<hypernet:carded:" + opts.extra_networks_default_multiplier + ">"'
        page.refresh()
        assert page.create_item("carded") is None


class TestTabs:
    @pytest.fixture
    def by_id(self, app):
        return {block.elem_id: block for block in shared.demo.blocks.values() if block.elem_id}

    @pytest.mark.parametrize("tab", ["txt2img", "img2img"])
    @pytest.mark.parametrize("page", ["textual_inversion", "hypernetworks", "checkpoints", "lora"])
    def test_elements(self, by_id, tab, page):
        assert isinstance(by_id[f"{tab}_{page}"], gr.Tab)
        assert {
            f"{tab}_{page}{name}"
            for name in (
                "_prompts",
                "_cards_html",
                "_extra_refresh_internal",
                "_edit_user_metadata",
                "_edit_user_metadata_name",
                "_edit_user_metadata_button",
            )
        } <= set(by_id)
        assert by_id[f"{tab}_preview_filename"].value == "Preview save filename"

    def test_generation_comes_first(self, by_id):
        tabs = [tab.label for tab in by_id["txt2img_extra_tabs"].children]
        assert tabs == ["Generation", "Textual Inversion", "Hypernetworks", "Checkpoints", "Lora"]

    def test_lists_are_kept_until_a_refresh(self, app):
        ui = ui_extra_networks.ExtraNetworksUi("txt2img")
        page = ExtraNetworksPageCheckpoints()
        ui.stored_extra_pages = [page]
        first = ui.pages_html()
        page.title = "another"
        assert ui.pages_html() is first
        assert "Search another" in ui.refresh()[0]
