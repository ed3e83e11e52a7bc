"""face: the API's request and response models.

The two generation requests are built from the fields of `job.request`: one declared there is a field of the API.
`additional_fields` adds what only the API has, and replaces what it says differently.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal, Optional

from pydantic import BaseModel, ConfigDict, Field, create_model

from modules.api.lax import LaxDict, LaxInt, LaxStr
from modules.job.request import Img2ImgFields, RequestFields, Txt2ImgFields, facts
from modules.shared import opts, parser

API_NOT_ALLOWED = ["self", "kwargs", *facts(RequestFields, "api"), "sampler_noise_scheduler_override"]
"""Constructor arguments of the processing classes that are no request fields."""

LAX_TYPES: dict[Any, Any] = {
    int: LaxInt,
    str: LaxStr,
    list[str]: list[LaxStr],
    dict: LaxDict,
    dict[str, Any]: LaxDict,
    float: float,
    bool: bool,
    list: list,
}


class PydanticModelGenerator:
    """Builds a request model from a dataclass of request fields, or a processing class."""

    def __init__(self, model_name: str, class_instance: type, additional_fields: list[dict[str, Any]]):
        self._model_name = model_name
        self._fields = {
            field.name: self._request_field(field, hints[field.name])
            for hints in [typing.get_type_hints(class_instance)]
            for field in dataclasses.fields(class_instance)
            if field.init and field.name not in API_NOT_ALLOWED
        }
        self._fields |= {row["key"]: (row["type"], Field(default=row["default"])) for row in additional_fields}

    @staticmethod
    def _request_field(field: dataclasses.Field, hint: Any) -> tuple[Any, Any]:
        hint = LAX_TYPES.get(hint, LaxStr)  # images and masks come as text
        default = None if field.default is dataclasses.MISSING else field.default
        return (hint | None, Field(default=default))

    def generate_model(self) -> type[BaseModel]:
        """Returns the finished model. Unknown body fields are ignored."""
        return create_model(
            self._model_name, __config__=ConfigDict(extra="ignore", validate_assignment=False), **self._fields
        )


_OWN_FIELDS = [
    {"key": "sampler_index", "type": LaxStr, "default": "Euler"},
    {"key": "script_name", "type": LaxStr | None, "default": None},
    {"key": "script_args", "type": list, "default": []},
    {"key": "send_images", "type": bool, "default": True},
    {"key": "save_images", "type": bool, "default": False},
    {"key": "alwayson_scripts", "type": LaxDict, "default": {}},
    {"key": "infotext", "type": LaxStr | None, "default": None},
    {"key": "force_task_id", "type": LaxStr | None, "default": None},
]

StableDiffusionTxt2ImgProcessingAPI = PydanticModelGenerator(
    "StableDiffusionTxt2ImgProcessingAPI",
    Txt2ImgFields,
    [{"key": "denoising_strength", "type": float | None, "default": None}, *_OWN_FIELDS],
).generate_model()

StableDiffusionImg2ImgProcessingAPI = PydanticModelGenerator(
    "StableDiffusionImg2ImgProcessingAPI",
    Img2ImgFields,
    [
        {"key": "init_images", "type": list | None, "default": None},
        {"key": "denoising_strength", "type": float, "default": 0.75},
        {"key": "mask", "type": LaxStr | None, "default": None},
        {"key": "mask_blur", "type": LaxInt | None, "default": None},
        {"key": "include_init_images", "type": bool, "default": False},
        *_OWN_FIELDS,
    ],
).generate_model()


class TextToImageResponse(BaseModel):
    images: list[str] | None = Field(default=None, description="Pictures as base64")
    parameters: dict
    info: str


class ImageToImageResponse(BaseModel):
    images: list[str] | None = Field(default=None, description="Pictures as base64")
    parameters: dict
    info: str


class ExtrasBaseRequest(BaseModel):
    resize_mode: Literal[0, 1] = Field(
        default=0, description="0: by upscaling_resize, 1: to upscaling_resize_w x upscaling_resize_h"
    )
    show_extras_results: bool = True
    gfpgan_visibility: float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    codeformer_visibility: float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    codeformer_weight: float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    upscaling_resize: float = Field(default=2, gt=0, allow_inf_nan=False, description="Factor of mode 0")
    upscaling_resize_w: LaxInt = Field(default=512, ge=1)
    upscaling_resize_h: LaxInt = Field(default=512, ge=1)
    upscaling_crop: bool = True
    upscaler_1: LaxStr = Field(default="None", description="See /sdapi/v1/upscalers")
    upscaler_2: LaxStr = "None"
    extras_upscaler_2_visibility: float = Field(default=0, ge=0, le=1, allow_inf_nan=False)
    upscale_first: bool = False


class ExtraBaseResponse(BaseModel):
    html_info: str


class ExtrasSingleImageRequest(ExtrasBaseRequest):
    image: LaxStr = Field(default="", description="Base64 or data URI")


class ExtrasSingleImageResponse(ExtraBaseResponse):
    image: str | None = None


class FileData(BaseModel):
    data: LaxStr = Field(description="Base64 or data URI")
    name: LaxStr


class ExtrasBatchImagesRequest(ExtrasBaseRequest):
    imageList: list[FileData]  # noqa: N815 (the name clients send)


class ExtrasBatchImagesResponse(ExtraBaseResponse):
    images: list[str]


class PNGInfoRequest(BaseModel):
    image: LaxStr = Field(description="Base64 or data URI")


class PNGInfoResponse(BaseModel):
    info: str
    items: dict
    parameters: dict


class ProgressRequest(BaseModel):
    skip_current_image: bool = False


class ProgressResponse(BaseModel):
    progress: float = Field(description="0 to 1")
    eta_relative: float = Field(description="Seconds left")
    state: dict
    current_image: str | None = Field(default=None, description="Live preview as base64")
    textinfo: str | None = None


class InterrogateRequest(BaseModel):
    image: LaxStr = ""
    model: LaxStr = "clip"


class InterrogateResponse(BaseModel):
    caption: str | None = None


class TrainResponse(BaseModel):
    info: str


class CreateResponse(BaseModel):
    info: str


class SamplerItem(BaseModel):
    name: str
    aliases: list[str]
    options: dict[str, str]


class SchedulerItem(BaseModel):
    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float | None = None
    need_inner_model: bool | None = None


class UpscalerItem(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    name: str
    model_name: str | None = None
    model_path: str | None = None
    model_url: str | None = None
    scale: float | None = None


class LatentUpscalerModeItem(BaseModel):
    name: str


class SDModelItem(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    title: str
    model_name: str
    hash: str | None = None
    sha256: str | None = None
    filename: str
    config: str | None = None


class SDVaeItem(BaseModel):
    model_config = ConfigDict(protected_namespaces=())
    model_name: str
    filename: str


class HypernetworkItem(BaseModel):
    name: str
    path: str | None = None


class FaceRestorerItem(BaseModel):
    name: str
    cmd_dir: str | None = None


class RealesrganItem(BaseModel):
    name: str
    path: str | None = None
    scale: int | None = None


class PromptStyleItem(BaseModel):
    name: str
    prompt: str | None = None
    negative_prompt: str | None = None


class EmbeddingItem(BaseModel):
    step: int | None = None
    sd_checkpoint: str | None = None
    sd_checkpoint_name: str | None = None
    shape: int
    vectors: int


class EmbeddingsResponse(BaseModel):
    loaded: dict[str, EmbeddingItem]
    skipped: dict[str, EmbeddingItem]


class MemoryResponse(BaseModel):
    ram: dict
    cuda: dict
    model: dict


class ScriptsList(BaseModel):
    txt2img: list | None = None
    img2img: list | None = None


class ScriptArg(BaseModel):
    label: str | None = None
    value: Any | None = None
    minimum: Any | None = None
    maximum: Any | None = None
    step: Any | None = None
    choices: list[str] | None = None


class ScriptInfo(BaseModel):
    name: str | None = None
    is_alwayson: bool | None = None
    is_img2img: bool | None = None
    args: list[ScriptArg]


class ExtensionItem(BaseModel):
    name: str
    remote: str
    branch: str
    commit_hash: str
    version: str
    commit_date: str
    enabled: bool


class ExtensionCheckRequest(BaseModel):
    source: str = Field(title="Source", description="Name of an installed extension, or the address to clone it from.")


ANSWERED_TYPES = {bool: bool, int: float, float: float, str: str, list: list, dict: dict}
"""Type of a setting's default > type its value is answered as."""


def _response_type(default: Any) -> Any:
    """Returns the type a value with this default is answered as; falsy ones, and types JSON lacks, go as they are."""
    return ANSWERED_TYPES[type(default)] | None if default and type(default) in ANSWERED_TYPES else Any


def options_model() -> type[BaseModel]:
    """Returns the answer of GET /options: one nullable field per registered setting, those of extensions included.

    Keys may begin with an underscore, names of fields may not: the key is the field's alias.
    """
    fields = {
        f"setting{key}" if key.startswith("_") else key: (
            _response_type(info.default),
            Field(default=info.default, alias=key),
        )
        for key, info in list(opts.data_labels.items())
    }
    return create_model("Options", __config__=ConfigDict(protected_namespaces=()), **fields)


def flags_model() -> type[BaseModel]:
    """Returns the answer of GET /cmd-flags: one nullable field per command line flag."""
    fields = {}
    for action in parser._actions:
        if action.dest in ("help", "==SUPPRESS=="):
            continue
        flag_type = LaxStr if action.default is None else type(action.default)
        fields[action.dest] = (Optional[flag_type], Field(default=action.default))  # noqa: UP045 (built at run time)
    return create_model("Flags", __config__=ConfigDict(protected_namespaces=()), **fields)
