"""A control network (Zhang et al. 2023, arXiv:2302.05543): replaces the U-Net's forward for a job."""

import copy
from functools import partial
from pathlib import Path

import gradio as gr
import numpy as np
import torch
from ldm.modules.diffusionmodules.openaimodel import conv_nd, timestep_embedding, zero_module
from safetensors.torch import load_file
from torch import nn

from modules import paths, scripts
from modules.api.api import decode_base64_to_image

FOLDER = Path(paths.models_path) / "control"
HINT_CHANNELS = ((16, 1), (32, 2), (32, 1), (96, 2), (96, 1), (256, 2))


class ControlNet(nn.Module):
    """The U-Net's encoder once more, which also sees a hint of eight times the latent's size."""

    def __init__(self, unet):
        super().__init__()
        self.model_channels = unet.model_channels
        self.time_embed = copy.deepcopy(unet.time_embed)
        self.input_blocks = copy.deepcopy(unet.input_blocks)
        self.middle_block = copy.deepcopy(unet.middle_block)
        layers, channels = [conv_nd(2, 3, 16, 3, padding=1), nn.SiLU()], 16
        for wider, stride in HINT_CHANNELS:
            layers += [conv_nd(2, channels, wider, 3, padding=1, stride=stride), nn.SiLU()]
            channels = wider
        layers.append(zero_module(conv_nd(2, channels, unet.model_channels, 3, padding=1)))
        self.input_hint_block = nn.Sequential(*layers)
        widths = [width_of(block) for block in unet.input_blocks]
        self.zero_convs = nn.ModuleList(nn.Sequential(zero_module(conv_nd(2, w, w, 1))) for w in widths)
        self.middle_block_out = nn.Sequential(zero_module(conv_nd(2, widths[-1], widths[-1], 1)))

    def forward(self, x, hint, timesteps, context):
        """Returns what is added to each skip, and to the map in the middle."""
        emb = self.time_embed(timestep_embedding(timesteps, self.model_channels).to(x.dtype))
        h, added = x, []
        for number, (block, zero_conv) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            h = block(h, emb, context)
            if number == 0:
                h = h + self.input_hint_block(hint)
            added.append(zero_conv(h))
        return [*added, self.middle_block_out(self.middle_block(h, emb, context))]


def width_of(block):
    """The channels that an input block gives: a convolution, a residual block first, or a layer that halves."""
    layer = block[0]
    return layer.op.out_channels if hasattr(layer, "op") else layer.out_channels


def controlled(unet, network, hint, weight, x, timesteps=None, context=None, y=None, **kwargs):
    added = [part * weight for part in network(x, hint.to(x), timesteps, context)]
    emb = unet.time_embed(timestep_embedding(timesteps, unet.model_channels).to(x.dtype))
    h, skips = x, []
    for block in unet.input_blocks:
        h = block(h, emb, context)
        skips.append(h)
    h = unet.middle_block(h, emb, context) + added.pop()
    for block in unet.output_blocks:
        h = block(torch.cat([h, skips.pop() + added.pop()], dim=1), emb, context)
    return unet.out(h)


class Control(scripts.Script):
    hooked = None

    def title(self):
        return "Control"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        with gr.Accordion("Control", open=False):
            enabled = gr.Checkbox(label="Control enabled", value=False)
            name = gr.Dropdown(label="Control model", choices=sorted(file.stem for file in FOLDER.glob("*.safetensors")))
            hint = gr.Image(label="Hint", type="pil")
            weight = gr.Slider(label="Control weight", minimum=0, maximum=2, value=1)
        return [enabled, name, hint, weight]

    def process(self, p, enabled, name, hint, weight):
        self.unhook()
        if not enabled:
            return
        unet = p.sd_model.model.diffusion_model
        network = ControlNet(unet)
        network.load_state_dict(load_file(FOLDER / f"{name}.safetensors"))
        image = decode_base64_to_image(hint) if isinstance(hint, str) else hint
        pixels = np.asarray(image.convert("RGB").resize((p.width, p.height)), np.float32) / 255
        self.hooked = unet, unet.forward
        unet.forward = partial(controlled, unet, network.eval(), torch.from_numpy(pixels).permute(2, 0, 1)[None], weight)
        p.extra_generation_params["Control"] = name

    def postprocess(self, p, processed, *args):
        self.unhook()

    def unhook(self):
        if self.hooked:
            unet, unet.forward = self.hooked
            self.hooked = None
