"""face: the two routes that make images from prompts."""

from __future__ import annotations

from fastapi import APIRouter, Request

from modules.api import models, waiting
from modules.http_routes import DescribedRoute

router = APIRouter(tags=["generate"], route_class=DescribedRoute)


@router.post("/sdapi/v1/txt2img", response_model=models.TextToImageResponse, summary="Make pictures from a prompt")
async def text2imgapi(txt2imgreq: models.StableDiffusionTxt2ImgProcessingAPI, request: Request) -> dict:
    """Makes images from a prompt."""
    return await waiting.carry_out(request, "txt2img", txt2imgreq)


@router.post("/sdapi/v1/img2img", response_model=models.ImageToImageResponse, summary="Make pictures from pictures")
async def img2imgapi(img2imgreq: models.StableDiffusionImg2ImgProcessingAPI, request: Request) -> dict:
    """Makes images from images."""
    return await waiting.carry_out(request, "img2img", img2imgreq)
