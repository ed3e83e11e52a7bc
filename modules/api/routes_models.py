"""face: routes that list, rescan, load and unload models of every kind."""

from __future__ import annotations

from fastapi import APIRouter

from modules import (
    lowvram,
    memmon,
    realesrgan_model,
    sd_hijack,
    sd_models,
    sd_models_config,
    sd_modules,
    sd_vae,
    shared,
    shared_items,
)
from modules.api import models, waiting
from modules.http_routes import DescribedRoute
from modules.job import elsewhere
from modules.textual_inversion.textual_inversion import Embedding

router = APIRouter(tags=["models"], route_class=DescribedRoute)


@router.get("/sdapi/v1/sd-models", response_model=list[models.SDModelItem], summary="Checkpoints")
def get_sd_models() -> list[dict]:
    """Lists the checkpoints."""
    return [
        {
            "title": info.title,
            "model_name": info.model_name,
            "hash": info.shorthash,
            "sha256": info.sha256,
            "filename": info.filename,
            "config": sd_models_config.find_checkpoint_config_near_filename(info),
        }
        for info in list(sd_models.checkpoints_list.values())
    ]


@router.get("/sdapi/v1/sd-vae", response_model=list[models.SDVaeItem], summary="VAE files")
def get_sd_vaes() -> list[dict]:
    """Lists the VAE files."""
    return [{"model_name": name, "filename": filename} for name, filename in list(sd_vae.vae_dict.items())]


@router.get("/sdapi/v1/sd-modules", response_model=list[models.SDVaeItem], summary="Files of VAEs and text encoders")
def get_sd_modules() -> list[dict]:
    """Lists what the setting forge_additional_modules takes: VAEs and text encoders in files of their own."""
    return [{"model_name": name, "filename": filename} for name, filename in list(sd_modules.module_dict.items())]


@router.get("/sdapi/v1/hypernetworks", response_model=list[models.HypernetworkItem], summary="Hypernetworks")
def get_hypernetworks() -> list[dict]:
    """Lists the hypernetworks."""
    return [{"name": name, "path": path} for name, path in list(shared.hypernetworks.items())]


@router.get("/sdapi/v1/upscalers", response_model=list[models.UpscalerItem], summary="Image upscalers")
def get_upscalers() -> list[dict]:
    """Lists the image upscalers."""
    return [
        {
            "name": upscaler.name,
            "model_name": upscaler.scaler.model_name,
            "model_path": upscaler.data_path,
            "model_url": None,
            "scale": upscaler.scale,
        }
        for upscaler in shared.sd_upscalers
    ]


@router.get(
    "/sdapi/v1/latent-upscale-modes",
    response_model=list[models.LatentUpscalerModeItem],
    summary="Latent upscale modes of the hires pass",
)
def get_latent_upscale_modes() -> list[dict]:
    """Lists the ways in which the hires pass enlarges latents."""
    return [{"name": name} for name in shared.latent_upscale_modes]


@router.get("/sdapi/v1/face-restorers", response_model=list[models.FaceRestorerItem], summary="Face restorers")
def get_face_restorers() -> list[dict]:
    """Lists the face restorers."""
    return [
        {"name": restorer.name(), "cmd_dir": getattr(restorer, "cmd_dir", None)} for restorer in shared.face_restorers
    ]


@router.get("/sdapi/v1/realesrgan-models", response_model=list[models.RealesrganItem], summary="RealESRGAN models")
def get_realesrgan_models() -> list[dict]:
    """Lists the models of RealESRGAN."""
    return [
        {"name": row.name, "path": row.data_path, "scale": row.scale}
        for row in realesrgan_model.get_realesrgan_models(None)
    ]


@router.get("/sdapi/v1/embeddings", response_model=models.EmbeddingsResponse, summary="Textual inversion embeddings")
def get_embeddings() -> dict:
    """Lists the embeddings that fit the model and those that do not."""

    def row(embedding: Embedding) -> dict:
        """Returns what is answered of an embedding."""
        return {
            "step": embedding.step,
            "sd_checkpoint": embedding.sd_checkpoint,
            "sd_checkpoint_name": embedding.sd_checkpoint_name,
            "shape": embedding.shape,
            "vectors": embedding.vectors,
        }

    db = sd_hijack.model_hijack.embedding_db
    return {
        "loaded": {embedding.name: row(embedding) for embedding in list(db.word_embeddings.values())},
        "skipped": {embedding.name: row(embedding) for embedding in list(db.skipped_embeddings.values())},
    }


@router.post("/sdapi/v1/refresh-embeddings", summary="Read the embeddings folder again")
async def refresh_embeddings() -> None:
    """Reads the embeddings folder again, between two jobs."""
    load = sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings
    await waiting.call("refresh-embeddings", lambda: load(force_reload=True))


@router.post("/sdapi/v1/refresh-checkpoints", summary="Read the checkpoint folders again")
async def refresh_checkpoints() -> None:
    """Reads the checkpoint folders again, between two jobs."""
    await waiting.call("refresh-checkpoints", shared_items.refresh_checkpoints)


@router.post("/sdapi/v1/refresh-vae", summary="Read the VAE folders again")
async def refresh_vae() -> None:
    """Reads the VAE folders again, between two jobs."""
    await waiting.call("refresh-vae", shared_items.refresh_vae_list)


@router.post("/sdapi/v1/unload-checkpoint", summary="Move the checkpoint out of the device's memory")
async def unload_checkpoint() -> dict:
    """Moves the checkpoint out of the device's memory, between two jobs; that of each worker after what it does."""
    if elsewhere.carrier is not None:
        elsewhere.carrier.tell("unload")
    await waiting.call("unload-checkpoint", sd_models.unload_model_weights)
    return {}


@router.post("/sdapi/v1/reload-checkpoint", summary="Move the checkpoint back to the device")
async def reload_checkpoint() -> dict:
    """Moves the checkpoint back to the device, between two jobs. With workers it is theirs, after what they do."""
    if elsewhere.carrier is not None:
        elsewhere.carrier.tell("reload")
    else:
        await waiting.call("reload-checkpoint", lambda: sd_models.send_model_to_device(shared.sd_model))
    return {}


@router.get("/sdapi/v1/memory", response_model=models.MemoryResponse, summary="Memory of machine and device, in bytes")
def get_memory() -> dict:
    """Returns the memory of machine and device, in bytes, and what of the current model is where, and why.

    `model` is empty while none is loaded.
    """
    model = sd_models.model_data.sd_model
    return {**memmon.memory_report(), "model": lowvram.report(model) if model else {}}
