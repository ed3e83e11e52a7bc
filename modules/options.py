"""base: what a setting is (OptionInfo), and the store of all values (Options). Knows no widgets: a component is opaque.

A value is looked up in three places: the overlay of the running job, the user's stored values, the default of the
definition. The overlay belongs to the context (thread) that laid it, so a job's override_settings are invisible to
everyone else and are gone when the job is.
"""

from __future__ import annotations

import filecmp
import functools
import itertools
import json
import logging
import os
import shutil
from collections import ChainMap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from modules import errors, option_values, settings_file, util
from modules.shared_cmd_options import cmd_opts

logger = logging.getLogger(__name__)

Overlay = ChainMap[str, Any]
NO_OVERLAY: Overlay = ChainMap()


@dataclass(frozen=True)
class OptionValues:
    """A group of settings as values that do not change: a field for each, named like it.

    It is what a stage of a job takes from the settings, made when the stage begins and in the job's context, so that
    the job's own settings are laid over the user's.
    """

    @classmethod
    def from_opts(cls, options: Any) -> Self:
        """Returns the values that hold now for the caller. options: the settings, or the snapshot of a job."""
        return cls(*[getattr(options, name) for name in _names(cls)])


@functools.cache
def _names(cls: type[OptionValues]) -> list[str]:
    return [field.name for field in fields(cls)]


class OptionInfo:
    """Definition of one setting: default value, and how the settings page shows it.

    component: widget class, or its name; None chooses by the type of default. component_args: its keyword arguments, or
    a function returning them when the page is built. onchange: called after the user changed the value. refresh: called
    by the button beside the widget. section: (id, title) of its page; category_id: group of pages. infotext: key under
    which generated images carry the value. restrict_api: the REST API cannot set it.
    """

    def __init__(
        self,
        default: Any = None,
        label: str = "",
        component: Any = None,
        component_args: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        onchange: Callable[[], object] | None = None,
        section: tuple[str | None, str] | None = None,
        refresh: Callable[[], object] | None = None,
        comment_before: str = "",
        comment_after: str = "",
        infotext: str | None = None,
        restrict_api: bool = False,
        category_id: str | None = None,
    ):
        self.default = default
        self.label = label
        self.component = component
        self.component_args = component_args
        self.onchange = onchange
        self.section = section
        self.category_id = category_id
        self.refresh = refresh
        self.do_not_save = False
        self.comment_before = comment_before
        self.comment_after = comment_after
        self.infotext = infotext
        self.restrict_api = restrict_api

    def link(self, label: str, url: str) -> OptionInfo:
        """Adds a link before the label."""
        self.comment_before += f'[<a href="{url}" target="_blank">{label}</a>]'
        return self

    def js(self, label: str, js_func: str) -> OptionInfo:
        """Adds a link before the label that calls the JavaScript function named js_func."""
        self.comment_before += f'[<a onclick="{js_func}(); return false">{label}</a>]'
        return self

    def info(self, info: str) -> OptionInfo:
        """Adds small text in brackets after the label."""
        self.comment_after += f'<span class="info">({info})</span>'
        return self

    def html(self, html: str) -> OptionInfo:
        """Adds HTML after the label."""
        self.comment_after += html
        return self

    def needs_restart(self) -> OptionInfo:
        """Tells the user that a change takes effect after a restart."""
        return self.info("needs a restart")

    def needs_reload_ui(self) -> OptionInfo:
        """Tells the user that a change takes effect after Reload UI."""
        return self.info("needs Reload UI")


class OptionHTML(OptionInfo):
    """A note among the settings of a page; it has no value."""

    def __init__(self, text: str):
        super().__init__(text.strip(), component="SettingsNote")
        self.do_not_save = True


@dataclass
class OptionsCategory:
    """A group of settings pages."""

    id: str
    label: str


class OptionsCategories:
    """The groups of settings pages, in the order of the page."""

    def __init__(self) -> None:
        self.mapping: dict[str, OptionsCategory] = {}

    def register_category(self, category_id: str, label: str) -> str:
        """Adds a group, unless it is there, and returns its id."""
        self.mapping.setdefault(category_id, OptionsCategory(category_id, label))
        return category_id


categories = OptionsCategories()


def options_section(section_identifier: Sequence[Any], options_dict: dict[str, OptionInfo]) -> dict[str, OptionInfo]:
    """Puts all options of a dictionary on one settings page, given as (id, title) or (id, title, category id).

    Returns the dictionary.
    """
    for info in options_dict.values():
        info.section = (section_identifier[0], section_identifier[1])
        if len(section_identifier) == 3:
            info.category_id = section_identifier[2]
    return options_dict


class HandlerFailed(Exception):
    """The onchange handler of a setting raised error."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


options_builtin_fields = {"data_labels", "data", "restricted_opts", "typemap", "job_overlay", "loaded_from"}


class Options:
    """Values of all settings, as attributes.

    data: the user's values, what is saved; it may hold keys of extensions that are not loaded. data_labels: key ->
    definition. restricted_opts: keys that nobody may change under --hide-ui-dir-config.
    """

    typemap: ClassVar[dict[type, type]] = {int: float}

    def __init__(self, data_labels: dict[str, OptionInfo], restricted_opts: Collection[str]):
        self.data_labels = data_labels
        self.data: dict[str, Any] = {k: v.default for k, v in data_labels.items() if not v.do_not_save}
        self.restricted_opts = restricted_opts
        self.loaded_from: str | None = None
        self.job_overlay: ContextVar[Overlay] = ContextVar("job_overlay", default=NO_OVERLAY)

    def __getattr__(self, item: str) -> Any:
        if item in options_builtin_fields:  # a copy made without __init__ has none of them
            raise AttributeError(item)
        for layer in self.job_overlay.get().maps:  # asked a hundred times a job, and a ChainMap is slow
            if item in layer:
                return layer[item]
        if item in self.data:
            return self.data[item]
        if item in self.data_labels:
            return self.data_labels[item].default
        raise AttributeError(f"there is no setting named {item!r}")

    def __setattr__(self, key: str, value: Any) -> None:
        if key in options_builtin_fields or not (key in self.data or key in self.data_labels):
            super().__setattr__(key, value)
        elif self.is_writable(key):
            overlay = self.job_overlay.get()
            target = next((layer for layer in overlay.maps if key in layer), self.data)
            target[key] = value

    def is_writable(self, key: str) -> bool:
        """Says whether a value may be stored under key: False for notes.

        Raises AssertionError for settings frozen by a --freeze-settings flag, RuntimeError for hidden and restricted
        ones.
        """
        assert not cmd_opts.freeze_settings, "settings are frozen (--freeze-settings)"
        info = self.data_labels.get(key)
        if info is not None:
            if info.do_not_save:
                return False
            if isinstance(info.component_args, Mapping) and info.component_args.get("visible") is False:
                raise RuntimeError(f"setting {key} is hidden and cannot be changed")
            section_id = info.section[0] if info.section else None
            frozen = split_flag(cmd_opts.freeze_settings_in_sections)
            assert section_id not in frozen, f"setting {key} is frozen (--freeze-settings-in-sections {section_id})"
        assert key not in split_flag(cmd_opts.freeze_specific_settings), (
            f"setting {key} is frozen (--freeze-specific-settings)"
        )
        if cmd_opts.hide_ui_dir_config and key in self.restricted_opts:
            raise RuntimeError(f"setting {key} cannot be changed (--hide-ui-dir-config)")
        return True

    @contextmanager
    def overlay(self, values: Mapping[str, Any]) -> Iterator[Overlay]:
        """Lays values over the user's, for the block and the context (thread) it runs in.

        A setting assigned inside is changed in the overlay, if it is overlaid, and forgotten with it.
        Nested overlays are searched from the inside out. Yields everything that is overlaid now.
        """
        token = self.job_overlay.set(self.job_overlay.get().new_child(dict(values)))
        try:
            yield self.job_overlay.get()
        finally:
            self.job_overlay.reset(token)

    def set(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Stores a value as `change`, and tells whether anything changed; a handler's error is displayed."""
        try:
            return self.change(key, value, is_api, run_callbacks)
        except HandlerFailed as e:
            errors.display(e.error, f"changing setting {key} to {value}")
            return False

    def change(self, key: str, value: Any, is_api: bool = False, run_callbacks: bool = True) -> bool:
        """Stores a value of the user and tells whether anything changed.

        A setting that is hidden, restricted, a note, or closed to the API (with is_api) stays as it is. When its
        onchange handler fails the old value is put back. Raises HandlerFailed then, KeyError for an unknown key,
        AssertionError for a frozen one.
        """
        if self.data.get(key, self.get_default(key)) == value:
            return False
        option = self.data_labels[key]
        if is_api and option.restrict_api:
            return False
        try:
            if not self.is_writable(key):
                return False
        except RuntimeError:
            return False

        previous = {key: self.data[key]} if key in self.data else {}
        self.data[key] = value
        if run_callbacks and option.onchange is not None:
            try:
                option.onchange()
            except Exception as e:  # handlers load models and are written by extensions: whatever fails
                self.data.pop(key, None)
                self.data.update(previous)
                raise HandlerFailed(e) from e
        return True

    def get_default(self, key: str) -> Any:
        """Returns the value key has before the user changes it; None for an unknown key."""
        info = self.data_labels.get(key)
        return None if info is None else info.default

    def save(self, filename: str) -> None:
        """Writes the user's values. The file is replaced as a whole: after a crash it is the old or the new one."""
        assert not cmd_opts.freeze_settings, "settings are frozen (--freeze-settings)"
        util.write_text_atomically(filename, json.dumps(dict(self.data), indent=4, ensure_ascii=False))

    def save_or_restore(self, filename: str, changed: Iterable[str], before: Mapping[str, Any]) -> None:
        """Writes the user's values; if that fails those that were changed get the values of before back.

        Raises NotSaved then, and AssertionError as `save`.
        """
        try:
            self.save(filename)
        except OSError as e:
            for key in changed:
                self.set(key, before.get(key, self.get_default(key)))
                if key not in before:
                    self.data.pop(key, None)
            raise errors.NotSaved(
                f"the settings cannot be written to {filename} ({e.strerror or e}), so nothing was changed: make room "
                "on the disk or let the program write there, and try again",
                field="options",
            ) from e

    def same_type(self, x: Any, y: Any) -> bool:
        """Says whether one value can stand where the other does; integers and floats are alike, None fits all."""
        if x is None or y is None:
            return True
        return self.typemap.get(type(x), type(x)) == self.typemap.get(type(y), type(y))

    def load(self, filename: str) -> None:
        """Replaces the user's values by those of a file.

        A missing file counts as empty. Of a damaged or foreign one everything is taken that can be read; the rest is
        named in the log, has its default, and the file is kept beside.
        """
        self.loaded_from = filename
        self.data, damaged = read_settings_file(filename)
        migrate_settings(self.data)
        for key in list(self.data):
            damaged = not self._accept_stored(key) or damaged
        if damaged and (kept := keep_beside(filename)):
            logger.warning("%s is kept as %s", filename, kept)

    def _accept_stored(self, key: str) -> bool:
        """Brings a stored value to its setting's type; one that cannot be is named, and gives way to the default."""
        info = self.data_labels.get(key)
        if info is None:
            return True
        try:
            self.data[key] = option_values.read(info, self.data[key])
        except ValueError as e:
            if self.data[key] is not None:  # a client or an older version has stored null: nothing is lost
                logger.warning("stored setting %s is %r, but %s; its default is used", key, self.data[key], e)
            return self.data.pop(key) is None
        return True

    def onchange(self, key: str, func: Callable[[], object], call: bool = True) -> None:
        """Attaches the handler of a setting; call runs it once right away."""
        self.data_labels[key].onchange = func
        if call:
            func()

    def dumpjson(self) -> str:
        """Returns all settings as a JSON object, as the page's scripts read it.

        Values, comments, and the first section title of each category.
        """
        labels = dict(self.data_labels)
        dump: dict[str, Any] = {key: self.data.get(key, info.default) for key, info in labels.items()}
        dump["_comments_before"] = {k: v.comment_before for k, v in labels.items() if v.comment_before}
        dump["_comments_after"] = {k: v.comment_after for k, v in labels.items() if v.comment_after}
        first_sections: dict[str, str] = {}
        for info in labels.values():
            if info.section and info.section[0] is not None:
                category = categories.mapping.get(info.category_id or "")
                first_sections.setdefault(category.label if category else "Uncategorized", info.section[1])
        dump["_categories"] = [[title, label] for label, title in first_sections.items()] + [["Defaults", "Other"]]
        return json.dumps(dump)

    def add_option(self, key: str, info: OptionInfo) -> None:
        """Defines a setting; extensions call this from on_ui_settings. One without a section is on the page Other."""
        info.section = info.section or ("other", "Other")
        self.data_labels[key] = info
        if not info.do_not_save:
            if key in self.data and not self._accept_stored(key) and self.loaded_from:
                keep_beside(self.loaded_from)
            self.data.setdefault(key, info.default)

    def reorder(self) -> None:
        """Sorts the definitions as the settings page shows them.

        By category (in order of registration, uncategorised last), then section title, then registration. A section
        belongs to the category of its first option.
        """
        category_order = {category_id: i for i, category_id in enumerate(categories.mapping)}
        section_category: dict[Any, str | None] = {}
        for info in self.data_labels.values():
            section_category.setdefault(info.section, info.category_id)

        def position(item: tuple[str, OptionInfo]) -> tuple[int, str]:
            """Returns what a setting is sorted by."""
            section = item[1].section
            return category_order.get(section_category[section] or "", len(category_order)), section[
                1
            ] if section else ""

        ordered = sorted(self.data_labels.items(), key=position)
        self.data_labels.clear()
        self.data_labels.update(ordered)

    def cast_value(self, key: str, value: Any) -> Any:
        """Returns a value, given in any form, as one of the setting's type; None when that type is unknown.

        Raises ValueError for a value that cannot be read as one.
        """
        info = self.data_labels[key]
        current = self.data.get(key)
        if value is None or option_values.kind_of(info, current) is None:
            return None
        return option_values.read(info, value, current)

    def read_value(self, key: str, value: Any) -> Any:
        """Returns a value as the setting has it. Raises InvalidInput, which names the setting, if it cannot be one."""
        info = self.data_labels[key]
        try:
            return option_values.read(info, value, self.data.get(key))
        except ValueError as e:
            raise errors.InvalidInput(f"the setting {key} is {value!r}, but {e}", field=key) from e

    def read_choice(self, key: str, value: Any) -> Any:
        """Returns the same where the setting is one choice of a menu that changes, as it is now. The checkpoint, which
        has more names than the menu shows, may be any. Raises InvalidInput.
        """
        value = self.read_value(key, value)
        info = self.data_labels[key]
        is_open = value is None or isinstance(value, list) or value == self.data.get(key)
        if is_open or not callable(info.component_args) or key == "sd_model_checkpoint":
            return value
        try:
            return option_values.choice(info, value, info.component_args())
        except ValueError as e:
            raise errors.InvalidInput(f"the setting {key} is {value!r}, but {e}", field=key) from e


def split_flag(value: str | None) -> list[str]:
    """Elements of a comma separated command line value."""
    return [part.strip() for part in value.split(",")] if value else []


def read_settings_file(filename: str) -> tuple[dict[str, Any], bool]:
    """Returns the values of a settings file that can be read, and whether it is damaged, which is reported."""
    values, problem = settings_file.read(filename)
    if problem is not None:
        errors.report(f"Settings {filename} are damaged: {problem}; {len(values)} could be read")
    return values, problem is not None


def keep_beside(filename: str) -> str | None:
    """Copies a file to one beside it, <name>.damaged, numbered if there are others, and returns its name.

    None if a copy like it is there already, or none can be made.
    """
    try:
        for number in itertools.count(1):
            copied = f"{filename}.damaged" + (f"-{number}" if number > 1 else "")
            if not os.path.exists(copied):
                return shutil.copy2(filename, copied)
            if filecmp.cmp(filename, copied, shallow=False):
                return None
    except OSError as e:
        logger.warning("cannot keep %s beside: %s", filename, e)
    return None


def migrate_settings(data: dict[str, Any]) -> None:
    """Adds, in place, what older settings files say in another form."""
    if data.get("sd_vae_as_default") is not None:
        data.setdefault("sd_vae_overrides_per_model_preferences", not data["sd_vae_as_default"])
    for old, new in (("quicksettings", "quicksettings_list"), ("ui_reorder", "ui_reorder_list")):
        if isinstance(data.get(old), str) and data.get(new) is None:
            data[new] = [part.strip() for part in data[old].split(",")]
