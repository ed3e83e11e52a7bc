"""job: postprocessing scripts on the generation tabs: those that the setting postprocessing_enable_in_main_ui names
become always-on scripts there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from modules import scripts, scripts_postprocessing, shared
from modules.script_base import PostprocessImageArgs
from modules.scripts_postprocessing import PostprocessedImage, ScriptPostprocessing, ScriptSettings


class ScriptPostprocessingForMainUI(scripts.Script):
    """A postprocessing script in the form of a script; it works on every image of a job."""

    def __init__(self, script_postproc: ScriptPostprocessing):
        self.script = script_postproc
        self.postprocessing_controls: dict[str, Any] | None = None

    def title(self) -> str:
        """Returns the name of the postprocessing script."""
        return self.script.name

    def show(self, is_img2img: bool) -> Any:
        """Returns AlwaysVisible."""
        return scripts.AlwaysVisible

    def ui(self, is_img2img: bool) -> Collection[Any]:
        """Makes the controls of the postprocessing script."""
        self.postprocessing_controls = dict(self.script.ui())
        return list(self.postprocessing_controls.values())

    def postprocess_image(self, p: Any, script_pp: PostprocessImageArgs, *args: Any) -> None:
        """Runs the postprocessing script over an image of the job, whose infotext gets what it notes."""
        pp = PostprocessedImage(script_pp.image)
        self.script.process(pp, **dict(zip(self.postprocessing_controls, args, strict=False)))
        p.extra_generation_params.update(pp.info)
        script_pp.image = pp.image


def create_auto_preprocessing_script_data() -> Iterator[scripts.ScriptClassData]:
    """Yields a row for every postprocessing script that the settings want on the generation tabs, in their order."""
    known = {data.script_class.name: data for data in scripts_postprocessing.postprocessing_scripts_data}
    for name in ScriptSettings.from_opts(shared.opts).postprocessing_enable_in_main_ui:
        if name in known:
            data = known[name]
            yield scripts.ScriptClassData(partial(_create, data.script_class), data.path, data.basedir, data.module)


def _create(script_class: type[ScriptPostprocessing]) -> ScriptPostprocessingForMainUI:
    return ScriptPostprocessingForMainUI(script_class())


scripts.script_data_sources.append(create_auto_preprocessing_script_data)
