"""job: scripts that work on finished images (the Extras tab): what one is, and the runner that calls them in order.

Controls are built by the scripts' own `ui()`, inside what the page registers with `set_control_builder`; a run with
named arguments, as the REST API makes it, needs no controls.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from PIL import Image

from modules import shared, shared_items
from modules.hook_records import Call, records
from modules.options import OptionValues


@dataclasses.dataclass(frozen=True)
class ScriptSettings(OptionValues):
    """Which scripts there are, and in which order. The names are those of the options."""

    postprocessing_disable_in_extras: Collection[str]
    postprocessing_enable_in_main_ui: Collection[str]
    postprocessing_operation_order: Sequence[str]


@dataclasses.dataclass
class PostprocessedImageSharedInfo:
    """What the scripts know of an image and of those made from it: the size it is meant to get, in pixels."""

    target_width: int | None = None
    target_height: int | None = None


class PostprocessedImage:
    """An image on its way through the scripts; each may replace or fill its attributes.

    info: infotext pairs. extra_images: further images made of it, images or PostprocessedImages. nametags: words for
    the end of its file name. disable_processing: later scripts leave it alone. caption: text for a file beside it.
    """

    def __init__(self, image: Image.Image):
        self.image = image
        self.info: dict[str, Any] = {}
        self.shared = PostprocessedImageSharedInfo()
        self.extra_images: list[Image.Image | PostprocessedImage] = []
        self.nametags: list[str] = []
        self.disable_processing = False
        self.caption: str | None = None

    def get_suffix(self, used_suffixes: dict[str, int] | None = None) -> str:
        """Returns the end of the file name: the name tags, numbered if used_suffixes, to which it is added, has it."""
        used = {} if used_suffixes is None else used_suffixes
        suffix = unique = "".join(f"-{tag}" for tag in self.nametags)
        number = 0
        while unique in used:
            number += 1
            unique = f"{suffix}-{number}"
        used[unique] = 1
        return unique

    def create_copy(
        self, new_image: Image.Image, *, nametags: Sequence[str] | None = None, disable_processing: bool = False
    ) -> PostprocessedImage:
        """Returns an image made of this one, with what is known about it and further name tags."""
        pp = PostprocessedImage(new_image)
        pp.shared = self.shared
        pp.nametags = [*self.nametags, *(nametags or [])]
        pp.info = self.info.copy()
        pp.disable_processing = disable_processing
        return pp


class ScriptPostprocessing:
    """Base of the scripts. name: title and key. order: place among them, lowest first.

    filename: of the script. controls: what ui() returned. args_from, args_to: their slice of the arguments of a run.
    group: the box around the controls.
    """

    filename: str | None = None
    controls: Mapping[str, Any] | None = None
    args_from: int | None = None
    args_to: int | None = None
    order: int = 1000
    name: str | None = None
    group: Any = None

    def ui(self) -> Mapping[str, Any]:
        """Creates controls and returns them by the names under which process() gets their values."""
        return {}

    def process(self, pp: PostprocessedImage, **args: Any) -> None:
        """Works on an image."""

    def process_firstpass(self, pp: PostprocessedImage, **args: Any) -> None:
        """Looks at the image as it came, before any script has worked on it."""

    def image_changed(self) -> None:
        """Is told that the user has chosen another image."""


@dataclasses.dataclass(frozen=True)
class ControlBuilder:
    """How the page builds controls. blocks opens a page of its own, group a box around the controls of one script, of
    which nothing is left where that fails.
    """

    blocks: Callable[[], AbstractContextManager[Any]]
    group: Callable[[], AbstractContextManager[Any]]


# Classes of the loaded scripts, rows with script_class, path, basedir and module; filled by `scripts.load_scripts`.
postprocessing_scripts_data: list[Any] = []
control_builders: list[ControlBuilder] = []

# Offered on the generation tabs only.
MAIN_UI_ONLY = "Simple Upscale"


def set_control_builder(builder: ControlBuilder) -> None:
    """Says how controls are built; the last one counts."""
    control_builders[:] = [builder]


def wrap_call(
    func: Callable[..., Any], filename: str, funcname: str, *args: Any, default: Any = None, **kwargs: Any
) -> Any:
    """Returns what func returns, or default, with a report, if it raises."""
    with Call(funcname, filename):
        return func(*args, **kwargs)
    return default


class ScriptPostprocessingRunner:
    """What runs the scripts over an image. scripts: all of them, once they are needed."""

    def __init__(self) -> None:
        self.scripts: list[ScriptPostprocessing] | None = None
        self.ui_created = False

    def initialize_scripts(self, scripts_data: Sequence[Any]) -> None:
        """Creates the scripts of the classes in scripts_data."""
        self.scripts = []
        for data in scripts_data:
            with Call("make", data.path):
                self._add_script(data)

    def _add_script(self, data: Any) -> None:
        script = data.script_class()
        script.filename = data.path
        if not isinstance(script.name, str):
            raise TypeError(f"{data.script_class.__name__} has no name: its attribute `name` has to be a text")
        if script.name != MAIN_UI_ONLY:
            self.scripts.append(script)

    def create_script_ui(self, script: ScriptPostprocessing, inputs: list[Any]) -> None:
        """Builds a script's controls and adds them to inputs."""
        script.args_from = len(inputs)
        script.controls = script.ui()
        if not isinstance(script.controls, Mapping):
            kind = type(script.controls).__name__
            raise TypeError(f"ui() has to return a dictionary, name -> control, but returned {kind}")
        for control in script.controls.values():
            control.custom_script_source = os.path.basename(script.filename)
        inputs += script.controls.values()
        script.args_to = len(inputs)

    def scripts_in_preferred_order(self) -> list[ScriptPostprocessing]:
        """Returns the scripts that the settings leave on, in their order."""
        if self.scripts is None:
            self.initialize_scripts(postprocessing_scripts_data)
        settings = ScriptSettings.from_opts(shared.opts)
        preferred = {name: place for place, name in enumerate(settings.postprocessing_operation_order)}
        enabled = [script for script in self.scripts if script.name not in settings.postprocessing_disable_in_extras]
        return sorted(
            enabled, key=lambda script: (preferred.get(script.name, len(preferred)), script.order, script.name)
        )

    def setup_ui(self) -> list[Any]:
        """Builds the controls of all scripts and returns them in the order of the arguments of `run`; a script whose
        controls cannot be built is reported and left out.
        """
        inputs: list[Any] = []
        for script in self.scripts_in_preferred_order():
            with Call("ui", script.filename) as call, control_builders[0].group() as group:
                self.create_script_ui(script, inputs)
            if call.failure is None:
                script.group = group
            else:
                self.scripts.remove(script)
        self.ui_created = True
        return inputs

    def run(self, pp: PostprocessedImage, args: Sequence[Any]) -> None:
        """Runs all scripts over pp with the values args of their controls; images they add are in pp.extra_images."""
        run_scripts(
            pp,
            [
                (script, dict(zip(script.controls, args[script.args_from : script.args_to], strict=False)))
                for script in self.scripts_in_preferred_order()
            ],
        )

    def run_with_names(self, pp: PostprocessedImage, scripts_args: Mapping[str, Mapping[str, Any]]) -> None:
        """Runs all scripts over pp with the arguments scripts_args[script name][argument name], None for all others."""
        run_scripts(
            pp,
            [
                (script, named_arguments(script, scripts_args.get(script.name, {})))
                for script in self.scripts_in_preferred_order()
            ],
        )

    def create_args_for_run(self, scripts_args: Mapping[str, Mapping[str, Any]]) -> list[Any]:
        """Returns the arguments of `run` for the same arguments by script and name; builds the controls if need be."""
        if not self.ui_created:
            with control_builders[0].blocks():
                self.setup_ui()
        args: list[Any] = []
        for script in sorted(self.scripts_in_preferred_order(), key=lambda script: script.args_from):
            given = scripts_args.get(script.name, {})
            args += [None] * (script.args_from - len(args))
            args += [given.get(name) for name in script.controls]
        return args

    def image_changed(self) -> None:
        """Tells all scripts that the user has chosen another image."""
        for script in self.scripts_in_preferred_order():
            with Call("image_changed", script.filename):
                script.image_changed()


def named_arguments(script: ScriptPostprocessing, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a script's process(): the given ones, and None for the others that it names."""
    names = list(inspect.signature(script.process).parameters.values())[1:]
    return {p.name: None for p in names if p.kind is not p.VAR_KEYWORD and p.kind is not p.VAR_POSITIONAL} | dict(given)


def run_scripts(pp: PostprocessedImage, scripts: Sequence[tuple[ScriptPostprocessing, Mapping[str, Any]]]) -> None:
    """Runs scripts with their arguments one after the other, each over pp and the images that earlier ones added.

    Skipping ends the run. The added images are in pp.extra_images afterwards.
    """
    for script, args in scripts:
        with naming_failures(script):
            script.process_firstpass(pp, **args)

    done = [pp]
    for script, args in scripts:
        if shared.state.skipped:
            break
        shared.state.job = script.name
        for image in done.copy():
            if not image.disable_processing:
                with naming_failures(script):
                    script.process(image, **args)
            done += _added_images(image)
    pp.extra_images = done[1:]


@contextmanager
def naming_failures(script: ScriptPostprocessing) -> Iterator[None]:
    """Passes the exceptions of a script on, which end the run, and remembers those of an extension."""
    try:
        yield
    except Exception as e:
        records.fail_in_extension("process", e, script.process)
        raise


def _added_images(pp: PostprocessedImage) -> Iterator[PostprocessedImage]:
    """Yields, and takes away, the extra images of an image."""
    added, pp.extra_images = pp.extra_images, []
    for image in added:
        yield image if isinstance(image, PostprocessedImage) else pp.create_copy(image)


shared_items.register("postprocessing_scripts", lambda: [data.script_class for data in postprocessing_scripts_data])
