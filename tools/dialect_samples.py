"""Makes the images of test/data/dialects: one for each program's way to write metadata, small and of neutral content.

    python tools/dialect_samples.py FOLDER

The shapes are facts about those programs; the true fields stand beside them in `expected.json`, which is the test.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

SIZE = (64, 48)
PROMPT = "red apple on a table, (soft light:1.2)"
NEGATIVE = "blurry, text"
USER_COMMENT, MAKER_NOTE, MAKE, MODEL, EXIF_IFD = 0x9286, 0x927C, 0x010F, 0x0110, 0x8769

FIELDS: dict[str, Any] = {
    "Prompt": PROMPT,
    "Negative prompt": NEGATIVE,
    "Steps": "12",
    "Sampler": "DPM++ 2M",
    "Schedule type": "Karras",
    "CFG scale": "6.5",
    "Seed": "77",
    "Size": "64x48",
    "Model": "fruit",
}


def expected(**changes: Any) -> dict[str, Any]:
    """Returns the true fields of a sample; None leaves one out."""
    fields = FIELDS | {key.replace("_", " "): value for key, value in changes.items()}
    return {key: value for key, value in fields.items() if value is not None}


PAIRS = f"{PROMPT}\nNegative prompt: {NEGATIVE}\nSteps: 12, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, "
WITH_LORAS = {"Prompt": f"{PROMPT}<lora:shine:0.8><lora:wood:1>"}


def comfy_graph() -> dict[str, Any]:
    """Returns a graph with two samplers, of which the second makes the saved image from the first one's latent."""
    first = {"seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}
    last = {"seed": 77, "steps": 12, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 0.5}
    links = {"model": ["3", 0], "positive": ["4", 0], "negative": ["5", 0]}
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/fruit.safetensors"}},
        "2": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "shine.safetensors",
                "strength_model": 0.8,
                "strength_clip": 0.8,
                "model": ["1", 0],
                "clip": ["1", 1],
            },
        },
        "3": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": "wood.safetensors", "strength_model": 1, "model": ["2", 0]},
        },
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["2", 1]}},
        "5": {"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0], "clip": ["2", 1]}},
        "6": {"class_type": "PrimitiveString", "inputs": {"value": NEGATIVE}},
        "7": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 48, "batch_size": 1}},
        "8": {"class_type": "KSampler", "inputs": first | links | {"latent_image": ["7", 0]}},
        "9": {"class_type": "KSampler", "inputs": last | links | {"latent_image": ["8", 0]}},
        "10": {"class_type": "VAEDecode", "inputs": {"samples": ["9", 0], "vae": ["1", 2]}},
        "11": {"class_type": "SaveImage", "inputs": {"images": ["10", 0], "filename_prefix": "image"}},
    }


def comfy_workflow() -> dict[str, Any]:
    """Returns a graph as ComfyUI's page draws it: values without names, links in a list, a node that is bypassed."""
    rows = [
        (1, "CheckpointLoaderSimple", [], ["MODEL", "CLIP", "VAE"], ["sd/fruit.safetensors"]),
        (2, "LoraLoader", [("model", 1), ("clip", 2)], ["MODEL", "CLIP"], ["shine.safetensors", 0.8, 0.8]),
        (3, "LoraLoaderModelOnly", [("model", 3)], ["MODEL"], ["wood.safetensors", 1]),
        (4, "CLIPTextEncode", [("clip", 4)], ["CONDITIONING"], [PROMPT]),
        (5, "CLIPTextEncode", [("clip", 13)], ["CONDITIONING"], [NEGATIVE]),
        (6, "EmptyLatentImage", [], ["LATENT"], [64, 48, 1]),
        (7, "LoraLoaderModelOnly", [("model", 5)], ["MODEL"], ["unused.safetensors", 1]),
        (8, "KSampler", [("model", 6), ("positive", 7), ("negative", 8), ("latent_image", 9)], ["LATENT"],
         [77, "randomize", 12, 6.5, "dpmpp_2m", "karras", 1]),
        (9, "VAEDecode", [("samples", 10), ("vae", 11)], ["IMAGE"], []),
        (10, "SaveImage", [("images", 12)], [], ["image"]),
    ]  # fmt: skip
    ends = [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (7, 0), (4, 0), (5, 0), (6, 0), (8, 0), (1, 2), (9, 0), (2, 1)]
    types = {"model": "MODEL", "clip": "CLIP", "vae": "VAE"}
    nodes = [
        {
            "id": number,
            "type": kind,
            "mode": 4 if number == 7 else 0,
            "inputs": [{"name": name, "type": types.get(name, "CONDITIONING"), "link": link} for name, link in inputs],
            "outputs": [{"name": name, "type": name} for name in outputs],
            "widgets_values": values,
        }
        for number, kind, inputs, outputs, values in rows
    ]
    targets = {link: (number, slot) for number, _, inputs, *_ in rows for slot, (_, link) in enumerate(inputs)}
    links = [[number, *end, *targets[number], "*"] for number, end in enumerate(ends, 1)]
    return {"last_node_id": 10, "last_link_id": 13, "nodes": nodes, "links": links, "groups": [], "version": 0.4}


def png(path: Path, texts: dict[str, str], image: Image.Image | None = None) -> None:
    """Writes a PNG with text chunks."""
    info = PngImagePlugin.PngInfo()
    for key, value in texts.items():
        (info.add_itxt if key.startswith("XML:") else info.add_text)(key, value)
    (image or Image.new("RGB", SIZE, "firebrick")).save(path, pnginfo=info)


def with_exif(path: Path, comment: str | None = None, tags: dict[int, str] | None = None, maker: str = "") -> None:
    """Writes a JPEG or WebP whose EXIF data hold a user comment, or other texts."""
    exif = Image.Exif()
    for tag, value in (tags or {}).items():
        exif[tag] = value
    if comment is not None:
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + comment.encode("utf_16_be")
    if maker:
        exif.get_ifd(EXIF_IFD)[MAKER_NOTE] = maker.encode()
    Image.new("RGB", SIZE, "firebrick").save(path, exif=exif.tobytes())


def hide(text: str, mode: str) -> Image.Image:
    """Returns an image of a mode, "RGBA" or "RGB", whose lowest bits hold a text, gzipped."""
    signature = b"stealth_pngcomp" if mode == "RGBA" else b"stealth_rgbcomp"
    data = gzip.compress(text.encode(), mtime=0)
    message = signature + (len(data) * 8).to_bytes(4) + data
    bits = np.unpackbits(np.frombuffer(message, np.uint8))
    pixels = np.full((SIZE[1] * 2, SIZE[0] * 2, len(mode)), 254, np.uint8)
    columns = pixels.transpose(1, 0, 2).copy()
    used = columns[..., 3:] if mode == "RGBA" else columns
    flat = used.reshape(-1).copy()
    flat[: len(bits)] |= bits
    used[...] = flat.reshape(used.shape)
    return Image.fromarray(columns.transpose(1, 0, 2), mode)


def xmp(comment: dict[str, Any]) -> str:
    """Returns an XMP packet as Draw Things writes it."""
    text = json.dumps(comment).replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/">'
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool>"
        f'<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></exif:UserComment>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def write_pairs(folder: Path) -> dict[str, dict[str, Any]]:
    """Writes the samples of programs that write v1.10.1's text with additions; returns their true fields."""
    png(folder / "a1111.png", {"parameters": PAIRS + "Seed: 77, Size: 64x48, Model: fruit, Version: v1.10.1"})
    png(
        folder / "forge.png",
        {
            "parameters": PAIRS.replace("CFG scale: 6.5", "CFG scale: 6.5, Distilled CFG Scale: 3.5")
            + "Seed: 77, Size: 64x48, Model: fruit, Version: neo, Diffusion in Low Bits: Automatic, Module 1: ae"
        },
    )
    png(
        folder / "sdnext.png",
        {
            "parameters": f"{PROMPT}\nNegative prompt: {NEGATIVE}\nTemplate: {PROMPT}\nNegative template: {NEGATIVE}\n"
            "Steps: 12, Size: 64x48, Sampler: DPM++ 2M Karras, Seed: 77, CFG scale: 6.5, CLiP-skip: 2, App: SD.Next, "
            "Version: 1a2b3c4, Model: fruit"
        },
    )
    resources = [
        {"type": "checkpoint", "modelVersionId": 1, "modelName": "fruit", "modelVersionName": "a, b"},
        {"type": "lora", "weight": 0.8, "modelVersionId": 2, "modelName": "shine", "modelVersionName": "v1"},
        {"type": "lora", "weight": 1, "modelVersionId": 3, "modelName": "wood", "modelVersionName": "v2"},
    ]
    with_exif(
        folder / "civitai.jpg",
        PAIRS
        + "Seed: 77, Size: 64x48, Clip skip: 2, Created Date: 2026-01-02T0304:05.0Z, "
        + f"Civitai resources: {json.dumps(resources)}, Civitai metadata: {json.dumps({'a': [1, 2]})}",
    )
    png(
        folder / "fooocus_a1111.png",
        {
            "parameters": f"{PROMPT}\nNegative prompt: {NEGATIVE}\nSteps: 12, Sampler: DPM++ 2M Karras, Seed: 77, "
            "Size: 64x48, CFG scale: 6.5, Sharpness: 2.0, Model: fruit, Performance: Speed, Scheduler: karras, "
            'Lora hashes: "shine: 1a2b, wood: 3c4d", Lora weights: "shine: 0.8, wood: 1", Version: Fooocus v2.5.5',
            "fooocus_scheme": "a1111",
        },
    )
    png(
        folder / "sdcpp.png",
        {
            "parameters": f"{PROMPT}\nNegative prompt: {NEGATIVE}\nSteps: 12, CFG scale: 6.500000, Guidance: 3.500000, "
            "Eta: 0.000000, Seed: 77, Size: 64x48, Model: fruit.gguf, RNG: cuda, Sampler: dpm++2m karras, "
            "Hires upscale: Latent, Hires scale: 2.000000, Denoising strength: 0.700000, "
            'Version: stable-diffusion.cpp, SDCPP: {"mode": "txt2img", "list": [1, 2]}'
        },
    )
    return {
        "a1111.png": expected(),
        "forge.png": expected(),
        "sdnext.png": expected(Clip_skip="2"),
        "civitai.jpg": expected(Clip_skip="2", **WITH_LORAS),
        "fooocus_a1111.png": expected(**WITH_LORAS),
        "sdcpp.png": expected(Hires_upscaler="Latent", Hires_upscale="2", Denoising_strength="0.7"),
    }


def write_objects(folder: Path) -> dict[str, dict[str, Any]]:
    """Writes the samples of programs that write JSON; returns their true fields."""
    fooocus = {
        "base_model": "fruit.safetensors",
        "base_model_hash": "1a2b3c4d5e",
        "clip_skip": 2,
        "guidance_scale": 6.5,
        "loras": [["shine.safetensors", 0.8, "1a2b"], ["wood.safetensors", 1.0, "3c4d"]],
        "metadata_scheme": "fooocus",
        "negative_prompt": NEGATIVE,
        "prompt": PROMPT,
        "resolution": "(64, 48)",
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "seed": 77,
        "steps": 12,
        "version": "Fooocus v2.5.5",
    }
    png(folder / "fooocus.png", {"parameters": json.dumps(fooocus), "fooocus_scheme": "fooocus"})
    with_exif(folder / "fooocus.jpg", json.dumps(fooocus), maker="fooocus")
    ruined = {
        "Prompt": PROMPT,
        "Negative": NEGATIVE,
        "steps": 12,
        "cfg": 6.5,
        "width": 64,
        "height": 48,
        "seed": 77,
        "sampler_name": "dpmpp_2m",
        "scheduler": "karras",
        "base_model_name": "fruit.safetensors",
        "loras": [["1a2b", "0.8 - shine.safetensors"], ["3c4d", "1 - wood.safetensors"]],
        "software": "RuinedFooocus",
    }
    png(folder / "ruined_fooocus.png", {"parameters": json.dumps(ruined)})
    swarm = {
        "sui_image_params": {
            "prompt": PROMPT,
            "negativeprompt": NEGATIVE,
            "model": "sd/fruit",
            "seed": 77,
            "steps": 12,
            "cfgscale": 6.5,
            "width": 64,
            "height": 48,
            "sampler": "dpmpp_2m",
            "scheduler": "karras",
            "loras": ["shine", "wood"],
            "loraweights": ["0.8", "1"],
            "swarm_version": "0.9.7",
        },
        "sui_extra_data": {"date": "2026-01-02"},
        "sui_models": [{"name": "sd/fruit.safetensors", "param": "model", "hash": "0x" + "12" * 32}],
    }
    png(folder / "swarm.png", {"parameters": json.dumps(swarm)})
    invoke = {
        "app_version": "6.1.0",
        "generation_mode": "txt2img",
        "positive_prompt": PROMPT,
        "negative_prompt": NEGATIVE,
        "width": 64,
        "height": 48,
        "seed": 77,
        "cfg_scale": 6.5,
        "steps": 12,
        "scheduler": "dpmpp_2m_k",
        "clip_skip": 1,
        "model": {"key": "k", "hash": "blake3:12", "name": "fruit", "base": "sd-1", "type": "main"},
        "loras": [{"model": {"name": "shine"}, "weight": 0.8}, {"model": {"name": "wood"}, "weight": 1}],
    }
    png(folder / "invoke.png", {"invokeai_metadata": json.dumps(invoke), "invokeai_graph": "{}"})
    comment = {
        "uc": NEGATIVE,
        "steps": 12,
        "sampler": "k_dpmpp_2m",
        "noise_schedule": "karras",
        "scale": 6.5,
        "seed": 77,
    }
    novelai = {"Software": "NovelAI", "Description": PROMPT, "Comment": json.dumps(comment)}
    png(folder / "novelai.png", novelai)
    png(folder / "novelai_alpha.png", {}, hide(json.dumps(novelai), "RGBA"))
    png(folder / "stealth_rgb.png", {}, hide(PAIRS + "Seed: 77, Size: 64x48, Model: fruit", "RGB"))
    draw = {
        "c": PROMPT,
        "uc": NEGATIVE,
        "model": "fruit.ckpt",
        "sampler": "DPM++ 2M Karras",
        "seed": 77,
        "scale": 6.5,
        "steps": 12,
        "size": "64x48",
        "strength": 1,
        "lora": [{"model": "shine", "weight": 0.8}, {"model": "wood", "weight": 1}],
    }
    png(folder / "draw_things.png", {"XML:com.adobe.xmp": xmp(draw)})
    novel = {"Model": None, "Clip_skip": "2"}
    return {
        "fooocus.png": expected(Clip_skip="2", **WITH_LORAS),
        "fooocus.jpg": expected(Clip_skip="2", **WITH_LORAS),
        "ruined_fooocus.png": expected(**WITH_LORAS),
        "swarm.png": expected(**WITH_LORAS),
        "invoke.png": expected(Clip_skip="2", **WITH_LORAS),
        "novelai.png": expected(**novel),
        "novelai_alpha.png": expected(**novel, Size="128x96"),
        "stealth_rgb.png": expected(),
        "draw_things.png": expected(**WITH_LORAS),
    }


def write_graphs(folder: Path) -> dict[str, dict[str, Any]]:
    """Writes the samples of ComfyUI; returns their true fields."""
    graph = json.dumps(comfy_graph())
    png(folder / "comfy.png", {"prompt": graph, "workflow": json.dumps({"nodes": []})})
    with_exif(folder / "comfy.webp", tags={MODEL: f"prompt:{graph}", MAKE: "workflow:{}"})
    png(folder / "comfy_workflow.png", {"workflow": json.dumps(comfy_workflow())})
    fields = expected(Denoising_strength="0.5", **WITH_LORAS)
    return {"comfy.png": fields, "comfy.webp": fields, "comfy_workflow.png": expected(**WITH_LORAS)}


def main() -> None:
    """Writes all samples and their true fields into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    fields = write_pairs(folder) | write_objects(folder) | write_graphs(folder)
    (folder / "expected.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
