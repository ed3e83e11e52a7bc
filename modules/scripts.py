"""job: scripts: how their files are loaded, and the runner that holds those of a tab, gives each its slice of the
argument list, and calls its hooks.

Knows no Gradio: controls are made by the builder that script_ui registers.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from modules import errors, extensions, script_callbacks, script_loading, scripts_postprocessing, shared, shared_items
from modules.extensions import ScriptFile, list_scripts
from modules.hook_records import Call, records
from modules.hooks import SCRIPT_HOOKS, MaskBlendArgs, run_each
from modules.paths_internal import script_path
from modules.script_base import (
    AlwaysVisible,
    OnComponent,
    PostprocessBatchListArgs,
    PostprocessImageArgs,
    PostProcessMaskOverlayArgs,
    PostSampleArgs,
    Script,
    ScriptBuiltinUI,
)
from modules.script_callbacks import ScriptCallback
from modules.scripts_postprocessing import postprocessing_scripts_data
from modules.timer import startup_timer

if TYPE_CHECKING:
    from gradio.blocks import Block
    from torch import Tensor

    from modules.processing import Processed, StableDiffusionProcessing


class ScriptClassData(NamedTuple):
    """A script class found in a file, or (by scripts_auto_postprocessing) a function that makes such a script."""

    script_class: Any
    path: str
    basedir: str
    module: ModuleType | None


scripts_data: list[ScriptClassData] = []
"""Every script class, in load order."""

script_data_sources: list[Callable[[], Iterable[ScriptClassData]]] = []
"""Functions that name further scripts each time those of a tab are made; they come before those of files."""

loading_basedir: ContextVar[str] = ContextVar("loading_basedir", default=script_path)


def basedir() -> str:
    """Returns the folder of the extension whose file is being loaded; at any other time that of the program."""
    return loading_basedir.get()


@contextlib.contextmanager
def loading_from(folder: str) -> Iterator[None]:
    """Makes a folder the current one of basedir() and, unless it is the program's, of imports."""
    token = loading_basedir.set(folder)
    try:
        with script_loading.importing_from(folder) if folder != script_path else contextlib.nullcontext():
            yield
    finally:
        loading_basedir.reset(token)


def load_scripts() -> None:
    """Loads all script files anew and lists the classes in them; a file that fails is reported and left out.

    Callbacks of earlier loads are forgotten, and the runners hold no scripts until they are initialised again.
    """
    scripts_data.clear()
    postprocessing_scripts_data.clear()
    script_callbacks.clear_callbacks()
    for path, error in script_loading.failed_preloads:
        records.fail("preload", path, error)
    own = list_scripts(os.path.join("modules", "processing_scripts"), ".py", include_extensions=False)
    for file in [*list_scripts("scripts", ".py"), *own]:
        with Call("load", file.path, script_loading.how_to_install), loading_from(file.basedir):
            register_classes(script_loading.load_module(file.path), file)
        startup_timer.record(file.filename)
    for runner in (scripts_txt2img, scripts_img2img, scripts_postproc):
        # Not a new object, as others hold it; but what they replaced on it goes.
        vars(runner).clear()
        runner.__init__()


reload_scripts = load_scripts


def register_classes(module: ModuleType, file: ScriptFile) -> None:
    """Lists the script classes of a module, those it imported included."""
    for script_class in vars(module).values():
        if not inspect.isclass(script_class):
            continue
        for base, registry in SCRIPT_BASES.items():
            if issubclass(script_class, base) and script_class not in (Script, ScriptBuiltinUI, base):
                registry.append(ScriptClassData(script_class, file.path, file.basedir, module))


SCRIPT_BASES: dict[type, list[ScriptClassData]] = {
    Script: scripts_data,
    scripts_postprocessing.ScriptPostprocessing: postprocessing_scripts_data,
}


def list_files_with_name(filename: str) -> list[str]:
    """Returns the paths of the files of this name in the program's folder and in those of active extensions."""
    folders = [script_path, *(extension.path for extension in extensions.active())]
    return [path for folder in folders if os.path.isfile(path := os.path.join(folder, filename))]


def wrap_call(
    func: Callable[..., Any], filename: str | None, funcname: str, *args: Any, default: Any = None, **kwargs: Any
) -> Any:
    """Calls a function of a script; an exception is reported with file and function, and default returned."""
    with Call(funcname, filename):
        return func(*args, **kwargs)
    return default


def tell_of_missing_controls(script: Script) -> None:
    """Names a script whose ui() returned nothing although hooks of it ask for values: each would fail in every job.

    One that returns nothing and asks for nothing is as it should be.
    """
    for name in ("run", *SCRIPT_HOOKS):
        asked, given = map(values_asked, (getattr(script, name), getattr(Script, name).__get__(script)))
        if asked > given:
            error = TypeError(f"it returned no controls, but {name}() asks for values of {asked - given}")
            failure = records.fail("ui", script.filename, error, "is its `return` missing?")
            if records.failures[failure] == 1:
                errors.report(f"{failure} [{script.filename}]")
            return


def values_asked(method: Callable[..., Any]) -> int:
    """Returns how many values a method has to be given by place."""
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(method).parameters.values()
    return sum(parameter.kind in places and parameter.default is parameter.empty for parameter in parameters)


class ControlsBuilder(Protocol):
    """Makes what a runner needs on the page."""

    def group(self, visible: bool) -> contextlib.AbstractContextManager[Any]:
        """Returns a block around the controls of a script, entered to fill it."""

    def whole_or_not_at_all(self) -> contextlib.AbstractContextManager[None]:
        """Returns a context whose error takes what was made inside off the page."""

    def describe(self, script: Script) -> Any:
        """Returns the api_info of a script whose controls are made."""

    def default_arg(self, control: Any) -> Any:
        """Returns what the page sends for a control that nobody has touched."""

    def script_menu(self, titles: list[str]) -> Any:
        """Returns the menu of selectable scripts; its value is 0 for none, else the place in titles, counted from 1."""

    def connect_script_menu(self, menu: Any, runner: ScriptRunner) -> None:
        """Has the page show the controls of the chosen script only, and choose it when an infotext is pasted."""


class ScriptRunner:
    """The scripts of a tab.

    inputs: controls of all scripts, in the order in which their values are sent; the first is the menu. default_args:
    what each sends as it was made. titles: of selectable scripts, in menu order. infotext_fields,
    paste_field_names: those of all scripts.
    """

    controls_builder: ClassVar[ControlsBuilder]

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.selectable_scripts: list[Script] = []
        self.alwayson_scripts: list[Script] = []
        self.titles: list[str] = []
        self.title_map: dict[str, Script] = {}
        self.infotext_fields: list[Any] = []
        self.paste_field_names: list[str] = []
        self.inputs: list[Any] = [None]
        self.default_args: list[Any] = [0]
        self.callback_map: dict[str, tuple[int, list[ScriptCallback]]] = {}
        self.callback_names = [
            "before_process",
            "process",
            "before_process_batch",
            "after_extra_networks_activate",
            "process_batch",
            "postprocess",
            "postprocess_batch",
            "postprocess_batch_list",
            "post_sample",
            "on_mask_blend",
            "postprocess_image",
            "postprocess_maskoverlay",
            "postprocess_image_after_composite",
            "before_component",
            "after_component",
        ]
        self.on_before_component_elem_id: dict[str, list[tuple[Callable[[OnComponent], object], Script]]] = {}
        self.on_after_component_elem_id: dict[str, list[tuple[Callable[[OnComponent], object], Script]]] = {}

    def initialize_scripts(self, is_img2img: bool) -> None:
        """Makes fresh scripts for the tab from all classes; one that fails is reported and left out."""
        for forgotten in (
            self.scripts,
            self.alwayson_scripts,
            self.selectable_scripts,
            self.infotext_fields,
            self.paste_field_names,
            self.titles,
            self.title_map,
            self.callback_map,
            self.on_before_component_elem_id,
            self.on_after_component_elem_id,
        ):
            forgotten.clear()
        for data in [*(data for source in script_data_sources for data in source()), *scripts_data]:
            with Call("make", data.path):
                self._add_script(data, is_img2img)
        self.apply_on_before_component_callbacks()

    def _add_script(self, data: ScriptClassData, is_img2img: bool) -> None:
        script = data.script_class()
        script.filename = data.path
        script.is_txt2img = not is_img2img
        script.is_img2img = is_img2img
        script.tabname = "img2img" if is_img2img else "txt2img"
        visibility = script.show(is_img2img)
        if visibility == AlwaysVisible:
            script.alwayson = True
            self.alwayson_scripts.append(script)
        elif visibility:
            self.selectable_scripts.append(script)
        else:
            return
        self.scripts.append(script)

    def apply_on_before_component_callbacks(self) -> None:
        """Takes over the callbacks that scripts have asked for since the last time."""
        for script in self.scripts:
            for asked, waiting in (
                (script.on_before_component_elem_id or [], self.on_before_component_elem_id),
                (script.on_after_component_elem_id or [], self.on_after_component_elem_id),
            ):
                for elem_id, callback in asked:
                    waiting.setdefault(elem_id, []).append((callback, script))
                asked.clear()

    def create_script_ui(self, script: Script) -> None:
        """Makes the controls of a script and gives it its slice; a script that fails is reported and dropped, with what
        it has put on the page.
        """
        script.args_from = script.args_to = len(self.inputs)
        with Call("ui", script.filename) as call, self.controls_builder.whole_or_not_at_all():
            self.create_script_ui_inner(script)
        if call.failure is not None:
            self.drop(script)

    def drop(self, script: Script) -> None:
        """Forgets a script, and what it waits for on the page."""
        for scripts in (self.scripts, self.alwayson_scripts, self.selectable_scripts):
            if script in scripts:
                scripts.remove(script)
        for waiting in (self.on_before_component_elem_id, self.on_after_component_elem_id):
            for callbacks in waiting.values():
                callbacks[:] = [(callback, owner) for callback, owner in callbacks if owner is not script]

    def create_script_ui_inner(self, script: Script) -> None:
        """Does what `create_script_ui` does, but passes exceptions on."""
        name = script.title().lower()
        controls = script.ui(script.is_img2img)
        script.controls = controls
        if controls is None:
            tell_of_missing_controls(script)
            return
        if not isinstance(controls, Collection):
            raise TypeError(f"ui() has to return a list of controls, but returned {type(controls).__name__}")
        script.name = name
        script.api_info = self.controls_builder.describe(script)
        defaults = [self.controls_builder.default_arg(control) for control in controls]
        fields, names = list(script.infotext_fields or []), list(script.paste_field_names or [])
        self.infotext_fields += fields
        self.paste_field_names += names
        self.inputs += controls
        self.default_args += defaults
        script.args_to = len(self.inputs)

    def setup_ui_for_section(self, section: str | None, scriptlist: list[Script] | None = None) -> None:
        """Makes the controls of the always-on scripts of a section, or of the scripts listed."""
        for script in list(self.alwayson_scripts if scriptlist is None else scriptlist):
            if script.alwayson and script.section != section:
                continue
            if not script.create_group:
                self.create_script_ui(script)
                continue
            with self.controls_builder.group(visible=script.alwayson) as group:
                self.create_script_ui(script)
            script.group = group

    def prepare_ui(self) -> None:
        """Begins a tab: no script has controls yet."""
        self.inputs = [None]
        self.default_args = [0]

    def setup_ui(self) -> list[Any]:
        """Makes the script area and returns the controls of all scripts, the menu first.

        It holds the always-on scripts that stand in no section, the menu, and the selectable scripts.
        """
        self.setup_ui_for_section(None)
        titles = [wrap_call(script.title, script.filename, "title", default="") for script in self.selectable_scripts]
        menu = self.inputs[0] = self.controls_builder.script_menu(titles)
        self.setup_ui_for_section(None, self.selectable_scripts)
        self.titles = [script.title() for script in self.selectable_scripts]
        self.title_map = {script.title().lower(): script for script in self.scripts}
        self.controls_builder.connect_script_menu(menu, self)
        self.apply_on_before_component_callbacks()
        return self.inputs

    def run(self, p: StableDiffusionProcessing, *args: Any) -> Processed | None:
        """Has the script chosen by args[0] carry out a job; None if none is chosen, or it leaves the job to the caller.

        args: values of all scripts. Exceptions of the script end the job. Raises InvalidInput when it takes other
        arguments than its slice has.
        """
        choice = args[0] if args else None
        if not choice:
            return None
        script = self.selectable_scripts[choice - 1]
        values = args[script.args_from : script.args_to]
        signature = inspect.signature(script.run)
        try:
            signature.bind(p, *values)
        except TypeError as e:
            names = ", ".join(list(signature.parameters)[1:])
            raise errors.InvalidInput(f"script_args of {script.title()} are {names}: {e}", field="script_args") from e
        try:
            processed = script.run(p, *values)
        except Exception as e:
            records.fail_in_extension("run", e, script.run)
            raise
        shared.total_tqdm.clear()
        return processed

    def list_scripts_for_method(self, method_name: str) -> list[Script]:
        """Returns the scripts that have this hook: of all for hooks of components, else of the always-on ones."""
        is_component_hook = method_name in ("before_component", "after_component")
        scripts = self.scripts if is_component_hook else self.alwayson_scripts
        return [script for script in scripts if getattr(type(script), method_name) != getattr(Script, method_name)]

    def create_ordered_callbacks_list(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        """Returns the scripts that have a hook, as callbacks, in the order of metadata.ini files and of a setting.

        enable_user_sort: whether the setting, prioritized_callbacks_script_<hook>, counts.
        """
        category = f"script_{method_name}"
        callbacks: list[ScriptCallback] = []
        for script in self.list_scripts_for_method(method_name):
            name = type(script).__name__
            script_callbacks.add_callback(callbacks, script, name=name, category=category, filename=script.filename)
        return script_callbacks.sort_callbacks(category, callbacks, enable_user_sort=enable_user_sort)

    def ordered_callbacks(self, method_name: str, *, enable_user_sort: bool = True) -> list[ScriptCallback]:
        """Returns what `create_ordered_callbacks_list` does; it is asked again when the number of scripts changes."""
        if not enable_user_sort:
            return self.create_ordered_callbacks_list(method_name, enable_user_sort=False)
        count = len(self.scripts) + len(self.alwayson_scripts)
        known_count, callbacks = self.callback_map.get(method_name, (-1, []))
        if known_count != count:
            callbacks = self.create_ordered_callbacks_list(method_name)
            self.callback_map[method_name] = (count, callbacks)
        return callbacks

    def ordered_scripts(self, method_name: str) -> list[Script]:
        """Returns the scripts that have a hook, in the order they are called."""
        return [callback.callback for callback in self.ordered_callbacks(method_name)]

    def _dispatch(self, hook: str, p: StableDiffusionProcessing, *special: Any, **kwargs: Any) -> None:
        """Calls a hook of the always-on scripts with what is special about it, then each script's own values."""
        values = p.script_args or ()

        def call(script: Script) -> None:
            """Calls the hook of one script."""
            getattr(script, hook)(p, *special, *values[script.args_from : script.args_to], **kwargs)

        run_each(hook, self.ordered_callbacks(hook), call)

    def setup_scrips(self, p: StableDiffusionProcessing, *, is_ui: bool = True) -> None:
        """Calls setup(); for a job of the API (is_ui False) not of scripts that read the page."""
        values = p.script_args or ()
        callbacks = self.ordered_callbacks("setup")
        run_each(
            "setup",
            [callback for callback in callbacks if is_ui or not callback.callback.setup_for_ui_only],
            lambda script: script.setup(p, *values[script.args_from : script.args_to]),
        )

    def before_process(self, p: StableDiffusionProcessing) -> None:
        """Calls the hook before_process of the always-on scripts."""
        self._dispatch("before_process", p)

    def process(self, p: StableDiffusionProcessing) -> None:
        """Calls the hook process of the always-on scripts."""
        self._dispatch("process", p)

    def process_before_every_sampling(self, p: StableDiffusionProcessing, **kwargs: Any) -> None:
        """Calls the hook process_before_every_sampling of the always-on scripts."""
        self._dispatch("process_before_every_sampling", p, **kwargs)

    def before_process_batch(self, p: StableDiffusionProcessing, **kwargs: Any) -> None:
        """Calls the hook before_process_batch of the always-on scripts."""
        self._dispatch("before_process_batch", p, **kwargs)

    def after_extra_networks_activate(self, p: StableDiffusionProcessing, **kwargs: Any) -> None:
        """Calls the hook after_extra_networks_activate of the always-on scripts."""
        self._dispatch("after_extra_networks_activate", p, **kwargs)

    def process_batch(self, p: StableDiffusionProcessing, **kwargs: Any) -> None:
        """Calls the hook process_batch of the always-on scripts."""
        self._dispatch("process_batch", p, **kwargs)

    def postprocess(self, p: StableDiffusionProcessing, processed: Processed) -> None:
        """Calls the hook postprocess of the always-on scripts."""
        self._dispatch("postprocess", p, processed)

    def postprocess_batch(self, p: StableDiffusionProcessing, images: Tensor, **kwargs: Any) -> None:
        """Calls the hook postprocess_batch of the always-on scripts."""
        self._dispatch("postprocess_batch", p, images=images, **kwargs)

    def postprocess_batch_list(self, p: StableDiffusionProcessing, pp: PostprocessBatchListArgs, **kwargs: Any) -> None:
        """Calls the hook postprocess_batch_list of the always-on scripts."""
        self._dispatch("postprocess_batch_list", p, pp, **kwargs)

    def post_sample(self, p: StableDiffusionProcessing, ps: PostSampleArgs) -> None:
        """Calls the hook post_sample of the always-on scripts."""
        self._dispatch("post_sample", p, ps)

    def on_mask_blend(self, p: StableDiffusionProcessing, mba: MaskBlendArgs) -> None:
        """Calls the hook on_mask_blend of the always-on scripts."""
        self._dispatch("on_mask_blend", p, mba)

    def postprocess_image(self, p: StableDiffusionProcessing, pp: PostprocessImageArgs) -> None:
        """Calls the hook postprocess_image of the always-on scripts."""
        self._dispatch("postprocess_image", p, pp)

    def postprocess_maskoverlay(self, p: StableDiffusionProcessing, ppmo: PostProcessMaskOverlayArgs) -> None:
        """Calls the hook postprocess_maskoverlay of the always-on scripts."""
        self._dispatch("postprocess_maskoverlay", p, ppmo)

    def postprocess_image_after_composite(self, p: StableDiffusionProcessing, pp: PostprocessImageArgs) -> None:
        """Calls the hook postprocess_image_after_composite of the always-on scripts."""
        self._dispatch("postprocess_image_after_composite", p, pp)

    def before_hr(self, p: StableDiffusionProcessing) -> None:
        """Calls the hook before_hr of the always-on scripts."""
        self._dispatch("before_hr", p)

    def before_component(self, component: Block, **kwargs: Any) -> None:
        """Tells scripts that a component is being made: those that wait for its id, then those with the hook."""
        self._tell_waiting("on_before_component", self.on_before_component_elem_id, component, kwargs)
        run_each(
            "before_component",
            self.ordered_callbacks("before_component"),
            lambda script: script.before_component(component, **kwargs),
        )

    def after_component(self, component: Block, **kwargs: Any) -> None:
        """Does what `before_component` does, once the component is made."""
        self._tell_waiting("on_after_component", self.on_after_component_elem_id, component, kwargs)
        run_each(
            "after_component",
            self.ordered_callbacks("after_component"),
            lambda script: script.after_component(component, **kwargs),
        )

    @staticmethod
    def _tell_waiting(
        hook: str,
        waiting: dict[str, list[tuple[Callable[[OnComponent], object], Script]]],
        component: Block,
        kwargs: dict[str, Any],
    ) -> None:
        callbacks = [
            ScriptCallback(script.filename or "", callback)
            for callback, script in waiting.get(kwargs.get("elem_id"), ())
        ]
        run_each(hook, callbacks, lambda callback: callback(OnComponent(component)))

    def script(self, title: str) -> Script | None:
        """Returns the script with this title, in any letter case."""
        return self.title_map.get(title.lower())

    def reload_sources(self, cache: dict[str, ModuleType]) -> None:
        """Gives the scripts of the tab the code their files have now; their controls stay as they are.

        cache: modules loaded so far in this reload, by path; the runner of the other tab takes its own from it.
        """
        for script in self.scripts:
            path = script.filename
            if path not in cache:
                cache[path] = script_loading.load_module(path)
            new_class = getattr(cache[path], type(script).__name__, None)
            if inspect.isclass(new_class) and issubclass(new_class, Script):
                script.__class__ = new_class

    def set_named_arg(
        self, args: list[Any] | tuple[Any, ...], script_name: str, arg_elem_id: str, value: Any, fuzzy: bool = False
    ) -> list[Any] | tuple[Any, ...]:
        """Returns args with the value of one control of a script replaced; a list is changed in place.

        script_name: title in lower case. arg_elem_id: the control's element id, or, if fuzzy, a part of it. Raises
        RuntimeError when there is no such script or control.
        """
        script = next((script for script in self.scripts if script.name == script_name), None)
        if script is None:
            raise RuntimeError(f"script {script_name} not found")
        for place, control in enumerate(script.controls or (), script.args_from):
            if arg_elem_id == control.elem_id or fuzzy and arg_elem_id in (control.elem_id or ""):
                changed = args if isinstance(args, list) else list(args)
                changed[place] = value
                return changed if isinstance(args, list) else tuple(changed)
        raise RuntimeError(f"arg_elem_id {arg_elem_id} not found in script {script_name}")


scripts_txt2img = ScriptRunner()
scripts_img2img = ScriptRunner()
scripts_postproc = scripts_postprocessing.ScriptPostprocessingRunner()

scripts_current: ScriptRunner | None = None
"""The runner of the tab that is being built."""


def reload_script_body_only() -> None:
    """Gives all scripts the code their files have now, without building the page anew."""
    cache: dict[str, ModuleType] = {}
    for runner in (scripts_txt2img, scripts_img2img):
        runner.reload_sources(cache)


def script_sections() -> list[str]:
    """Returns the parts of the form that scripts stand in."""
    scripts = [*scripts_txt2img.scripts, *scripts_img2img.scripts]
    return list(dict.fromkeys(script.section for script in scripts if isinstance(script.section, str)))


def script_hook_callbacks() -> list[tuple[str, list[ScriptCallback]]]:
    """Returns the pairs (category script_<hook>, scripts of both tabs that have the hook)."""
    found = []
    for method_name in scripts_txt2img.callback_names:
        callbacks = {
            callback.name: callback
            for runner in (scripts_img2img, scripts_txt2img)
            for callback in runner.create_ordered_callbacks_list(method_name, enable_user_sort=False)
        }
        found.append((f"script_{method_name}", list(callbacks.values())))
    return found


shared_items.register("script_sections", script_sections)
shared_items.register("script_hook_callbacks", script_hook_callbacks)

from modules.extensions import ScriptWithDependencies  # noqa: E402, F401  # A1111 names
