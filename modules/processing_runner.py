"""job: from a request to its result: `ProcessingRunner` makes the processing object, runs it, and says what came out.

The page, the API and whoever else has a `JobRequest` come through here. Extensions replace functions and classes of
`modules.processing` and the runners' `run` at run time, so these are looked up when they are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from modules import processing, run_files, scripts, shared
from modules.errors import NotFound
from modules.hook_records import records
from modules.job import elsewhere
from modules.job.records import ImageRecord, records_of
from modules.job.request import ImageBatch, JobRequest

if TYPE_CHECKING:
    from PIL import Image

    from modules.options import Options

BatchWork = Callable[[processing.StableDiffusionProcessing, ImageBatch], processing.Processed]


@dataclass(frozen=True)
class OutputFolders:
    """Where results go that ask for no folder."""

    samples: str
    grids: str

    @classmethod
    def from_opts(cls, opts: Options, kind: str, is_api: bool) -> OutputFolders:
        """Returns the folders of one kind of job. The ones common to all kinds hold for jobs of the page alone."""
        samples, grids = ("", "") if is_api else (opts.outdir_samples, opts.outdir_grids)
        if kind == "txt2img":
            return cls(samples or opts.outdir_txt2img_samples, grids or opts.outdir_txt2img_grids)
        return cls(samples or opts.outdir_img2img_samples, grids or opts.outdir_img2img_grids)


@dataclass(frozen=True)
class JobResult:
    """What a finished job has made. `records` has one entry per image."""

    images: list[Image.Image]
    records: list[ImageRecord]
    overrides: dict[str, Any]
    """The settings the job had values of its own for, as its hooks have left them."""
    processed: processing.Processed
    """The result as scripts and extensions know it."""

    @property
    def infotexts(self) -> list[str]:
        """The infotext of each image, empty where nothing is known."""
        return [record.infotext for record in self.records]

    @property
    def seeds(self) -> list[int | None]:
        """The seed of each image, None for grids and what scripts made of other images."""
        return [record.seed for record in self.records]

    @property
    def files(self) -> list[str]:
        """The files the images were written to."""
        return [record.file for record in self.records if record.file]


class ProcessingRunner:
    """Carries out one request."""

    run_batch: ClassVar[BatchWork]
    """Runs a job on each image of a batch. The face sets it, as it knows how to read the images' infotexts."""

    def __init__(self, request: JobRequest):
        self.request = request
        self.scripts: scripts.ScriptRunner = (
            scripts.scripts_txt2img if request.kind == "txt2img" else scripts.scripts_img2img
        )

    def create(self) -> processing.StableDiffusionProcessing:
        """Makes the processing object, its scripts set up. Raises NotFound for a script that is not there."""
        request = self.request
        job_type = (
            processing.StableDiffusionProcessingTxt2Img
            if request.kind == "txt2img"
            else processing.StableDiffusionProcessingImg2Img
        )
        folders = OutputFolders.from_opts(shared.opts, request.kind, request.is_api)
        fields = {"outpath_samples": folders.samples, "outpath_grids": folders.grids} | request.fields
        p = job_type(**{name: own_copy(value) for name, value in fields.items()})
        p.is_api, p.user = request.is_api, request.user
        p.scripts = self.scripts
        args = flat_arguments(self.scripts, request)
        p.script_args = args if request.is_api and request.script else tuple(args)
        for name, value in request.attributes.items():
            setattr(p, name, value)
        return p

    def run(self) -> JobResult:
        """Runs the job on the device that the caller holds, or has another process run it; raises what the job raises.
        The result's comments name the extensions that have failed in it.
        """
        if (carry_out := elsewhere.carry_out.get()) is not None:
            return carry_out(self.request)
        with records.job() as failed, run_files.one_run(), closing(self.create()) as p:
            if self.request.batch is not None:
                processed = ProcessingRunner.run_batch(p, self.request.batch)
            else:
                # A client that names no script has none asked, one that sends the page's menu has.
                asks_scripts = self.request.script is not None or not self.request.is_api
                processed = self.scripts.run(p, *p.script_args) if asks_scripts else None
                processed = processed if processed is not None else processing.process_images(p)
            if failed:
                comments = getattr(processed, "comments", None) or ""
                processed.comments = comments + "".join(f"{failure}\n" for failure in failed)
            return result_of(p, processed)


def result_of(p: processing.StableDiffusionProcessing, processed: processing.Processed) -> JobResult:
    """Returns what a job has made, with what is known of each image. Scripts may hand over images of any origin."""
    records = records_of(processed)[: len(processed.images)]
    return JobResult(processed.images, records, p.override_settings, processed)


def own_copy(value: Any) -> Any:
    """Returns a list or dict that a job may change without changing its request."""
    return value.copy() if isinstance(value, list | dict) else value


def named_scripts(runner: scripts.ScriptRunner) -> Iterator[tuple[str, scripts.Script]]:
    """Yields each script with its name: its title, with a number where an earlier one has the same.

    Extensions may have put scripts into one of the runner's lists alone.
    """
    seen: Counter[str] = Counter()
    everything = [*runner.scripts, *runner.alwayson_scripts, *runner.selectable_scripts]
    for script in dict.fromkeys(everything):
        title = script.title()
        seen[title] += 1
        yield (title if seen[title] == 1 else f"{title} ({seen[title]})"), script


def values_by_script(runner: scripts.ScriptRunner, args: Sequence[Any]) -> tuple[str | None, dict[str, list[Any]]]:
    """Returns (name of the selected script, values by script) of the flat argument list of a tab.

    An infotext that names a script puts a text where the place in the menu stands, and selects none.
    """
    by_name = dict(named_scripts(runner))
    choice = args[0] if args and isinstance(args[0], int) else 0
    chosen = runner.selectable_scripts[choice - 1] if choice else None
    name = next((name for name, script in by_name.items() if script is chosen), None)
    slices = {name: list(args[script.args_from or 0 : script.args_to or 0]) for name, script in by_name.items()}
    return name, {name: values for name, values in slices.items() if values}


def flat_arguments(runner: scripts.ScriptRunner, request: JobRequest) -> list[Any]:
    """Returns the argument list that scripts take their slices from. Raises NotFound for a script that is not there."""
    by_name = dict(named_scripts(runner))
    for name in [request.script, *request.script_values]:
        if name is not None and name not in by_name:
            raise NotFound(f"There is no script {name!r}: the extension that brings it is missing", field="script_name")
    args = list(runner.default_args)
    for name, values in request.script_values.items():
        script = by_name[name]
        args += [None] * (script.args_to - len(args))  # an extension may have put controls into the runner itself
        for place, value in zip(range(script.args_from, script.args_to), values, strict=False):
            args[place] = value
    if request.script is not None:
        args[0] = runner.selectable_scripts.index(by_name[request.script]) + 1
    return args
