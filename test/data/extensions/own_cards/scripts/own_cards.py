"""A page of cards among the extra networks."""

from modules import script_callbacks, ui_extra_networks


class OwnPage(ui_extra_networks.ExtraNetworksPage):
    def __init__(self):
        super().__init__("Own cards")

    def refresh(self):
        pass

    def list_items(self):
        yield {
            "name": "card",
            "filename": __file__,
            "shorthash": "",
            "preview": None,
            "description": "a card",
            "search_terms": ["own card"],
            "prompt": '"own card"',
            "local_preview": "",
            "sort_keys": {},
        }

    def allowed_directories_for_previews(self):
        return []


script_callbacks.on_before_ui(lambda: ui_extra_networks.register_page(OwnPage()))
