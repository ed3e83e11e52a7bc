"""face: routes that list, rescan, load and unload models of every kind."""

from __future__ import annotations

from fastapi import APIRouter

from modules import (
    call_queue,
    memmon,
    realesrgan_model,
    sd_hijack,
    sd_models,
    sd_models_config,
    sd_vae,
    shared,
    shared_items,
)
from modules.api import models
from modules.textual_inversion.textual_inversion import Embedding

router = APIRouter(tags=["models"])


@router.get("/sdapi/v1/sd-models", response_model=list[models.SDModelItem], summary="Checkpoints")
def get_sd_models() -> list[dict]:
    return [
        {
            "title": info.title,
            "model_name": info.model_name,
            "hash": info.shorthash,
            "sha256": info.sha256,
            "filename": info.filename,
            "config": sd_models_config.find_checkpoint_config_near_filename(info),
        }
        for info in sd_models.checkpoints_list.values()
    ]


@router.get("/sdapi/v1/sd-vae", response_model=list[models.SDVaeItem], summary="VAE files")
def get_sd_vaes() -> list[dict]:
    return [{"model_name": name, "filename": filename} for name, filename in sd_vae.vae_dict.items()]


@router.get("/sdapi/v1/hypernetworks", response_model=list[models.HypernetworkItem], summary="Hypernetworks")
def get_hypernetworks() -> list[dict]:
    return [{"name": name, "path": path} for name, path in shared.hypernetworks.items()]


@router.get("/sdapi/v1/upscalers", response_model=list[models.UpscalerItem], summary="Image upscalers")
def get_upscalers() -> list[dict]:
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
    return [{"name": name} for name in shared.latent_upscale_modes]


@router.get("/sdapi/v1/face-restorers", response_model=list[models.FaceRestorerItem], summary="Face restorers")
def get_face_restorers() -> list[dict]:
    return [
        {"name": restorer.name(), "cmd_dir": getattr(restorer, "cmd_dir", None)} for restorer in shared.face_restorers
    ]


@router.get("/sdapi/v1/realesrgan-models", response_model=list[models.RealesrganItem], summary="RealESRGAN models")
def get_realesrgan_models() -> list[dict]:
    return [
        {"name": row.name, "path": row.data_path, "scale": row.scale}
        for row in realesrgan_model.get_realesrgan_models(None)
    ]


@router.get("/sdapi/v1/embeddings", response_model=models.EmbeddingsResponse, summary="Textual inversion embeddings")
def get_embeddings() -> dict:
    def row(embedding: Embedding) -> dict:
        return {
            "step": embedding.step,
            "sd_checkpoint": embedding.sd_checkpoint,
            "sd_checkpoint_name": embedding.sd_checkpoint_name,
            "shape": embedding.shape,
            "vectors": embedding.vectors,
        }

    db = sd_hijack.model_hijack.embedding_db
    return {
        "loaded": {embedding.name: row(embedding) for embedding in db.word_embeddings.values()},
        "skipped": {embedding.name: row(embedding) for embedding in db.skipped_embeddings.values()},
    }


@router.post("/sdapi/v1/refresh-embeddings", summary="Read the embeddings folder again")
def refresh_embeddings() -> None:
    with call_queue.queue_lock:
        sd_hijack.model_hijack.embedding_db.load_textual_inversion_embeddings(force_reload=True)


@router.post("/sdapi/v1/refresh-checkpoints", summary="Read the checkpoint folders again")
def refresh_checkpoints() -> None:
    with call_queue.queue_lock:
        shared_items.refresh_checkpoints()


@router.post("/sdapi/v1/refresh-vae", summary="Read the VAE folders again")
def refresh_vae() -> None:
    with call_queue.queue_lock:
        shared_items.refresh_vae_list()


@router.post("/sdapi/v1/unload-checkpoint", summary="Move the checkpoint out of the device's memory")
def unload_checkpoint() -> dict:
    with call_queue.queue_lock:
        sd_models.unload_model_weights()
    return {}


@router.post("/sdapi/v1/reload-checkpoint", summary="Move the checkpoint back to the device")
def reload_checkpoint() -> dict:
    with call_queue.queue_lock:
        sd_models.send_model_to_device(shared.sd_model)
    return {}


@router.get("/sdapi/v1/memory", response_model=models.MemoryResponse, summary="Memory of machine and device, in bytes")
def get_memory() -> dict:
    return memmon.memory_report()
