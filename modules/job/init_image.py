"""job: from an init image and its mask to the latent img2img starts from, with everything needed to put the result
back over the image.

`prepare` is the whole stage: mask, images, latent, latent mask and image conditioning, in that order.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from modules import bounds, devices, image_ops, images, latents, masking, rng, shared
from modules.errors import InvalidInput
from modules.job import conds
from modules.job.settings import InitImageSettings

if TYPE_CHECKING:
    from modules.job.run_state import Img2ImgState

RESIZE_LATENT = 3
"""resize_mode that leaves the image alone and stretches its latent instead."""

MIN_CELLS = 2
"""Of a latent, to each side: the group norms of a VAE have no variance in a single one."""

STRETCH = 0
"""resize_mode that brings an image to the size of the result without regard to its shape."""

FILL, ORIGINAL, LATENT_NOISE, LATENT_NOTHING = range(4)
"""Values of inpainting_fill: what stands in the masked part before sampling."""

Box = tuple[int, int, int, int]


@dataclass
class MaskPlan:
    """What the mask asks for: the mask at processing size (None: no inpainting), and the region of the image that is
    cut out, if any.
    """

    image_mask: Image.Image | None = None
    crop_region: Box | None = None


@dataclass
class PreparedImages:
    """The init images at processing size, with what is laid over or matched to the result later."""

    arrays: list[np.ndarray] = field(default_factory=list)
    overlays: list[Image.Image] | None = None
    color_corrections: list[np.ndarray] | None = None


def prepare(p: Img2ImgState, all_seeds: list[int], create_noise) -> None:
    """Fills `p.init_latent`, `p.mask`, `p.nmask`, `p.image_conditioning`, `p.overlay_images`, `p.mask_for_overlay`,
    `p.paste_to` and `p.color_corrections`.

    create_noise: `processing.create_random_tensors`, for masked content "latent noise".
    Raises InvalidInput when the number of init images fits neither one nor the batch.
    """
    latent_settings = latents.LatentSettings.from_opts(shared.opts)
    p.extra_generation_params["Denoising strength"] = p.denoising_strength
    plan = plan_mask(p)
    latent_mask = plan.image_mask if p.latent_mask is None else fit_latent_mask(p, p.latent_mask, plan.crop_region)
    prepared = prepare_images(p, plan, latent_mask)
    batch = fit_to_batch(p, prepared)

    pixels = torch.from_numpy(batch).to(shared.device, dtype=p.sd_model.placement.dtype_vae)
    if latent_settings.sd_vae_encode_method != "Full":
        p.extra_generation_params["VAE Encoder"] = latent_settings.sd_vae_encode_method
    # Runs of one p, as scripts make them, share a generator: it was last seeded for the image made before.
    posterior = rng.posterior_generator(p.seeds[-1] if p.seeds else all_seeds[0])
    p.init_latent = latents.images_tensor_to_samples(pixels, latent_settings.encoder, p.sd_model, generator=posterior)
    devices.torch_gc()
    if p.resize_mode == RESIZE_LATENT:
        cells = p.sd_model.latent_format.cells(p.width, p.height)[1:]
        p.init_latent = F.interpolate(p.init_latent, size=cells, mode="bilinear")
        pixels = F.interpolate(pixels, size=(p.height, p.width), mode="bilinear")

    if plan.image_mask is not None:
        mask_latent(p, latent_mask, all_seeds, create_noise)
    p.image_conditioning = conds.image_conditioning(p, pixels * 2 - 1, p.init_latent, plan.image_mask, p.mask_round)


def plan_mask(p: Img2ImgState) -> MaskPlan:
    """Binarises, inverts and blurs the mask and decides which part of the image is worked on.

    "Only masked" (`inpaint_full_res`) works on the mask's bounding box, grown by the padding and to the aspect ratio of
    the result; a mask without a single white pixel is dropped with a comment. Otherwise the mask is brought to the size
    of the result. A mask of another shape than the image is stretched over it first.
    """
    if p.image_mask is None:
        return MaskPlan()
    p.overlay_images = p.paste_to = p.mask = p.nmask = None  # scripts run one p for several images
    mask = fit_to_image(p, image_ops.create_binary_mask(p.image_mask, round=p.mask_round))
    params = p.extra_generation_params
    if p.inpainting_mask_invert:
        mask = ImageOps.invert(mask)
        params["Mask mode"] = "Inpaint not masked"
    mask = blur_mask(mask, p.mask_blur_x, p.mask_blur_y)
    if p.mask_blur_x > 0 or p.mask_blur_y > 0:
        params["Mask blur"] = p.mask_blur

    if not p.inpaint_full_res:
        mask = images.resize_image(mask_resize_mode(p), mask, p.width, p.height)
        doubled = np.clip(np.array(mask).astype(np.float32) * 2, 0, 255).astype(np.uint8)
        p.mask_for_overlay = Image.fromarray(doubled)
        return MaskPlan(mask)

    p.mask_for_overlay = mask
    mask = mask.convert("L")
    crop_region = masking.get_crop_region_v2(mask, p.inpaint_full_res_padding)
    if crop_region is None:
        p.image_mask = None
        p.mask_for_overlay = None
        p.comment("The mask is empty, so the whole picture was processed as in img2img.")
        return MaskPlan()
    if crop_region[0] >= crop_region[2] or crop_region[1] >= crop_region[3]:
        raise InvalidInput(
            f"inpaint_full_res_padding is {p.inpaint_full_res_padding}, which leaves nothing of the mask",
            field="inpaint_full_res_padding",
        )
    crop_region = masking.expand_crop_region(crop_region, p.width, p.height, mask.width, mask.height)
    x1, y1, x2, y2 = crop_region
    p.paste_to = (x1, y1, x2 - x1, y2 - y1)
    params["Inpaint area"] = "Only masked"
    params["Masked area padding"] = p.inpaint_full_res_padding
    return MaskPlan(images.resize_image(2, mask.crop(crop_region), p.width, p.height), crop_region)


def fit_to_image(p: Img2ImgState, mask: Image.Image) -> Image.Image:
    """Returns a mask at the size of the init image, where its own would not come out right by itself.

    That is where a part of the image is cut out, and where another shape would be cut or filled in another way.
    """
    if not p.init_images or mask.size == p.init_images[0].size:
        return mask
    width, height = p.init_images[0].size
    has_its_shape = mask.width * height == mask.height * width
    if not p.inpaint_full_res and (has_its_shape or mask_resize_mode(p) == STRETCH):
        return mask
    return mask.resize((width, height), Image.Resampling.BILINEAR)


def fit_latent_mask(p: Img2ImgState, mask: Image.Image, crop_region: Box | None) -> Image.Image:
    """Returns a mask of its own for the latent at the size of the result, cut out where the image is."""
    if mask.size == (p.width, p.height) and crop_region is None:
        return mask
    mask = fit_to_image(p, mask.convert("RGB"))
    if crop_region is not None:
        return images.resize_image(2, mask.crop(crop_region), p.width, p.height)
    return images.resize_image(mask_resize_mode(p), mask, p.width, p.height)


def mask_resize_mode(p: Img2ImgState) -> int:
    """Returns the resize mode of masks: resize_mode 3 stretches (0) the latent, so the mask too."""
    return STRETCH if p.resize_mode == RESIZE_LATENT else p.resize_mode


def blur_mask(mask: Image.Image, blur_x: int, blur_y: int) -> Image.Image:
    """Blurs an 8-bit mask by a Gaussian, horizontally, then vertically; a radius of 0 leaves that direction sharp."""
    import cv2  # many megabytes, and most jobs have no mask

    pixels = np.array(mask)
    if blur_x > 0:
        pixels = cv2.GaussianBlur(pixels, (2 * int(2.5 * blur_x + 0.5) + 1, 1), blur_x)
    if blur_y > 0:
        pixels = cv2.GaussianBlur(pixels, (1, 2 * int(2.5 * blur_y + 0.5) + 1), blur_y)
    return Image.fromarray(pixels)


def prepare_images(p: Img2ImgState, plan: MaskPlan, latent_mask: Image.Image | None) -> PreparedImages:
    """Brings every init image to the size of the result and notes its overlay and colours."""
    settings = InitImageSettings.from_opts(shared.opts)
    match_colors = settings.img2img_color_correction and p.color_corrections is None
    prepared = PreparedImages(
        overlays=[] if plan.image_mask is not None else None, color_corrections=[] if match_colors else None
    )
    check_count(len(p.init_images), p.batch_size)
    if p.resize_mode == RESIZE_LATENT:
        for source in p.init_images:
            bounds.current().check_size(*source.size, "init_images")
    for source in p.init_images:
        if settings.save_init_img:
            save_init_image(p, source, settings.outdir_init_images)
        image = fitted(p, plan, images.flatten(source, settings.img2img_background_color))
        if plan.image_mask is not None:
            prepared.overlays.append(cut_overlay(p, image))
        if plan.crop_region is not None:
            image = images.resize_image(2, image.crop(plan.crop_region), p.width, p.height)
        if plan.image_mask is not None and p.inpainting_fill != ORIGINAL:
            # Only an image whose latent is stretched has another size than the mask.
            image = masking.fill(image, latent_mask.resize(image.size))
            if p.inpainting_fill == FILL:
                p.extra_generation_params["Masked content"] = "fill"
        if match_colors:
            prepared.color_corrections.append(image_ops.setup_color_correction(image))
        prepared.arrays.append(np.moveaxis(np.array(image).astype(np.float32) / 255.0, 2, 0))
    return prepared


def fitted(p: Img2ImgState, plan: MaskPlan, image: Image.Image) -> Image.Image:
    """Returns an init image at the size that its resize mode gives it; before a crop, at that of the mask."""
    if plan.crop_region is not None:
        is_of_the_mask = image.size == p.mask_for_overlay.size  # as the first image always is
        return image if is_of_the_mask else images.resize_image(mask_resize_mode(p), image, *p.mask_for_overlay.size)
    if p.resize_mode != RESIZE_LATENT:
        return images.resize_image(p.resize_mode, image, p.width, p.height)
    return with_enough_cells(image, p.sd_model.latent_format.downscale)


def with_enough_cells(image: Image.Image, cell: int) -> Image.Image:
    """Returns an image whose latent is to be stretched, enlarged where it has fewer cells a side than a VAE can take.

    cell: pixels that a side of a latent cell stands for.
    """
    size = tuple(max(side, MIN_CELLS * cell) for side in image.size)
    return image if image.size == size else image_ops.resize_lanczos(image, *size)


def save_init_image(p: Img2ImgState, image: Image.Image, folder: str) -> None:
    """Keeps a copy of the init image, named by the MD5 of its pixels, which the infotext quotes."""
    p.init_img_hash = hashlib.md5(image.tobytes(), usedforsecurity=False).hexdigest()
    images.save_image(
        image,
        path=folder,
        basename=None,
        forced_filename=p.init_img_hash,
        save_to_dirs=False,
        existing_info=image.info,
    )


def cut_overlay(p: Img2ImgState, image: Image.Image) -> Image.Image:
    """Returns the part of the image outside the mask (RGBA), laid over the result at the end.

    It is as large as the result, or as the image from which the result was cut out.
    """
    if p.resize_mode == RESIZE_LATENT and p.paste_to is None:
        image = images.resize_image(STRETCH, image, p.width, p.height)
    if p.mask_for_overlay.size != image.size:
        p.mask_for_overlay = images.resize_image(mask_resize_mode(p), p.mask_for_overlay, *image.size)
    overlay = Image.new("RGBa", image.size)
    overlay.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(p.mask_for_overlay.convert("L")))
    return overlay.convert("RGBA")


def check_count(count: int, batch_size: int) -> None:
    """Raises InvalidInput unless there is one image, or at most one for each of the batch."""
    if not 1 <= count <= max(batch_size, 1):
        raise InvalidInput(
            f"bad number of images passed: {count}; give one, or at most batch_size ({batch_size})", field="init_images"
        )


def fit_to_batch(p: Img2ImgState, prepared: PreparedImages) -> np.ndarray:
    """Returns (B, 3, H, W) in 0..1: one image is repeated for the whole batch; several make the batch as long as they
    are many.
    """
    count = len(prepared.arrays)
    check_count(count, p.batch_size)
    if count == 1:
        batch = prepared.arrays[0][None].repeat(p.batch_size, axis=0)
        repeat = p.batch_size
    else:
        if len({array.shape for array in prepared.arrays}) > 1:
            raise InvalidInput("init_images differ in size, which resize_mode 3 cannot take", field="resize_mode")
        p.batch_size = count
        batch = np.array(prepared.arrays)
        repeat = 1
    if prepared.overlays is not None:
        p.overlay_images = prepared.overlays * repeat
    if prepared.color_corrections is not None:
        p.color_corrections = prepared.color_corrections * repeat
    return batch


def mask_latent(p: Img2ImgState, latent_mask: Image.Image, all_seeds: list[int], create_noise) -> None:
    """Fills the mask in latent cells (`p.nmask`, 1 = made anew; `p.mask` = 1 - nmask) and puts the masked content it
    asks for into `p.init_latent`.
    """
    channels, height, width = p.init_latent.shape[1:]
    cells = np.array(latent_mask.convert("RGB").resize((width, height)), dtype=np.float32)[..., 0] / 255
    if p.mask_round:
        cells = np.around(cells)
    nmask = np.tile(cells[None], (channels, 1, 1))
    p.mask = torch.asarray(1.0 - nmask).to(shared.device, p.sd_model.dtype)
    p.nmask = torch.asarray(nmask).to(shared.device, p.sd_model.dtype)

    if p.inpainting_fill == LATENT_NOISE:
        noise = create_noise(p.init_latent.shape[1:], all_seeds[: p.init_latent.shape[0]])
        p.init_latent = p.init_latent * p.mask + noise * p.nmask
        p.extra_generation_params["Masked content"] = "latent noise"
    elif p.inpainting_fill == LATENT_NOTHING:
        p.init_latent = p.init_latent * p.mask
        p.extra_generation_params["Masked content"] = "latent nothing"
