#!/usr/bin/env bash
# diffusers 0.42.1 with peft 0.21.2: of a LoRA file by kohya's scripts, the attention layers of a U-Net all get the
# alpha that most layers of the file have, whatever each has itself.
#
# The alphas are kept under the names that attention processors once had ("...attn1.processor.to_k_lora..."), and are
# looked up under those of today ("...attn1.to_k"), where none is found. Files whose layers differ, as those resized to
# a rank for each layer do, change such layers too much or too little; all that is said is a RuntimeWarning of peft that
# keys of an alpha_pattern matched no module. Below, to_k has rank 8 and alpha 2, which is strength 0.25; the other two
# layers have alpha 4. Seen: "to_k: strength 0.5, alpha 4.0".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 diffusers==0.42.1 transformers==5.24.0 \
    accelerate==1.15.0 peft==0.21.2

"$folder/venv/bin/python" - <<'PYTHON'
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin as Loader

unet = UNet2DConditionModel(
    sample_size=8,
    block_out_channels=(32, 64),
    layers_per_block=1,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=32,
    attention_head_dim=8,
    norm_num_groups=8,
)
attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
file = {}
for layer, rank, alpha in (("to_q", 4, 4.0), ("to_k", 8, 2.0), ("to_v", 2, 4.0)):
    name = f"lora_unet_{attention.replace('.', '_')}_{layer}"
    file[f"{name}.lora_down.weight"] = torch.randn(rank, 32)
    file[f"{name}.lora_up.weight"] = torch.randn(32, rank)
    file[f"{name}.alpha"] = torch.tensor(alpha)
weights, alphas = Loader.lora_state_dict(file)[:2]
Loader.load_lora_into_unet(weights, alphas, unet)
layer = unet.get_submodule(f"{attention}.to_k")
strength, alpha = layer.scaling["default_0"], layer.lora_alpha["default_0"]
print(f"to_k: strength {strength}, alpha {alpha}")
assert (strength, alpha) == (0.5, 4.0)
PYTHON
echo "as described"
