"""face: the two routes that make pictures from prompts."""

from __future__ import annotations

from fastapi import APIRouter

from modules.api import generate, models

router = APIRouter(tags=["generate"])


@router.post("/sdapi/v1/txt2img", response_model=models.TextToImageResponse, summary="Make pictures from a prompt")
def text2imgapi(txt2imgreq: models.StableDiffusionTxt2ImgProcessingAPI) -> dict:
    return generate.carry_out(generate.prepare_txt2img(txt2imgreq))


@router.post("/sdapi/v1/img2img", response_model=models.ImageToImageResponse, summary="Make pictures from pictures")
def img2imgapi(img2imgreq: models.StableDiffusionImg2ImgProcessingAPI) -> dict:
    return generate.carry_out(generate.prepare_img2img(img2imgreq))
