"""What authors of extensions write against says its types, so that editors complete it."""

import inspect
import re

import pytest

from modules import (
    extra_networks,
    model_patches,
    options,
    processing,
    script_callbacks,
    scripts,
    scripts_postprocessing,
    shared,
)
from modules.hooks import CALLBACK_HOOKS
from modules.job.result import TAKEN_OVER

CLASSES = [
    scripts.Script,
    scripts_postprocessing.ScriptPostprocessing,
    scripts_postprocessing.PostprocessedImage,
    extra_networks.ExtraNetwork,
    processing.Processed,
    processing.StableDiffusionProcessing,
    processing.StableDiffusionProcessingTxt2Img,
    processing.StableDiffusionProcessingImg2Img,
    options.OptionInfo,
    options.Options,
    model_patches.ModelPatches,
]
FUNCTIONS = {
    f"{owner.__name__.rpartition('.')[2]}.{name}": function
    for owner in [*CLASSES, script_callbacks, processing, shared]
    for name, function in inspect.getmembers(owner, inspect.isfunction)
    if not name.startswith("_") and function.__module__.startswith("modules")
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_for_authors_says_its_types(name):
    signature = inspect.signature(FUNCTIONS[name])
    untyped = [
        p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    assert untyped == []
    assert signature.return_annotation is not signature.empty


@pytest.mark.parametrize("spec", CALLBACK_HOOKS.values(), ids=lambda spec: spec.registrar)
def test_a_registrar_says_what_its_callback_gets(spec):
    typed = re.fullmatch(
        r"Registrar\[Callable\[(\.\.\.|\[.*?\]), .*\]\]", script_callbacks.__annotations__[spec.registrar]
    )
    named = [argument.strip() for argument in spec.arguments.strip("()").split(",") if argument.strip()]
    if typed[1] == "...":
        assert "**kwargs" in named
    else:
        types = re.sub(r"\[[^\[\]]*\]", "", typed[1][1:-1])  # what is inside of dict[...] holds commas too
        assert len([part for part in types.split(",") if part.strip()]) == len(named)
        assert all(
            name.partition(": ")[2] in ("", "list", part.strip())
            for name, part in zip(named, types.split(","), strict=False)
        )


@pytest.mark.parametrize(
    "cls", [processing.Processed, processing.StableDiffusionProcessingTxt2Img], ids=lambda c: c.__name__
)
def test_the_attributes_of_a_job_and_its_result_say_their_types(cls):
    known = {name: text for base in cls.__mro__ for name, text in vars(base).get("__annotations__", {}).items()}
    assert {"width", "height", "steps", "seeds" if hasattr(cls, "seeds") else "sampler_name"} <= known.keys()
    assert [
        name
        for name, text in known.items()
        if text in ("list", "Any") and name.startswith(("all_", "prompts", "seeds"))
    ] == []
    if cls is processing.Processed:
        assert set(TAKEN_OVER) <= known.keys()
