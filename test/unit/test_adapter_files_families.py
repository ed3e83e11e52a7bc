"""For which kind of model a file of networks is."""

import pytest

from modules.adapter_files.families import FAMILIES, family_of

TO_K = "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
FC1 = "text_model_encoder_layers_0_mlp_fc1"

BY_KEYS = {
    "sd1": {f"lora_unet_{TO_K}.lora_down.weight": (4, 768)},
    "sd2": {f"lora_unet_{TO_K}.lora_down.weight": (4, 1024)},
    "sdxl": {f"lora_unet_{TO_K}.lora_down.weight": (4, 2048)},
    "sdxl-refiner": {f"lora_unet_{TO_K}.lora_down.weight": (4, 1280)},
    "flux": {"lora_unet_single_blocks_0_linear1.lora_down.weight": (4, 3072)},
    "sd3": {"lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight": (4, 1536)},
    "chroma": {
        "diffusion_model.distilled_guidance_layer.norms.0.scale": (1,),
        "diffusion_model.single_blocks.0.linear1.lora_A.weight": (4, 3072),
    },
    "hunyuan-video": {"diffusion_model.double_blocks.0.img_attn_qkv.lora_A.weight": (4, 3072)},
    "qwen-image": {"transformer.transformer_blocks.0.img_mlp.net.2.lora_A.weight": (4, 3072)},
    "wan": {"diffusion_model.blocks.0.self_attn.q.lora_A.weight": (4, 1536)},
    "lumina": {"diffusion_model.layers.0.attention.qkv.lora_A.weight": (4, 2304)},
    "pixart": {"base_model.model.adaln_single.linear.lora_A.weight": (4, 1152)},
}


@pytest.mark.parametrize(("name", "shapes"), BY_KEYS.items(), ids=BY_KEYS)
def test_keys_and_shapes_tell(name, shapes):
    found = family_of(shapes, {"ss_base_model_version": "sd_v1"})
    assert found is not None
    assert found.name == name
    assert found.title


def test_every_family_is_told_somehow():
    assert {family.name for family in FAMILIES} == set(BY_KEYS)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("flux", {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (4, 3072)}),
        ("sd3", {"transformer.transformer_blocks.0.attn.add_q_proj.lora_A.weight": (4, 1536)}),
        ("sd3", {"lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight": (4, 1536)}),
        ("sdxl", {f"lora_te2_{FC1}.lora_down.weight": (4, 1280)}),
        ("sdxl", {"text_encoder_2.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": (4, 1280)}),
        ("sd1", {f"lora_te_{FC1}.lora_down.weight": (4, 768)}),
        ("sd2", {f"lora_te_{FC1}.lora_down.weight": (4, 1024)}),
        ("sd1", {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight": (4, 768)}),
        ("sdxl", {"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora.down.weight": (4, 2048)}),
        ("sdxl", {f"lora_unet_{TO_K}.hada_w1_b": (4, 2048)}),
    ],
)
def test_layouts_of_other_programs(name, shapes):
    assert family_of(shapes, {}).name == name


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("sd1", {"ss_base_model_version": "sd_v1"}),
        ("sd2", {"ss_base_model_version": "sd_v2_v"}),
        ("sd2", {"ss_v2": "True"}),
        ("sdxl", {"ss_base_model_version": "sdxl_base_v1-0"}),
        ("sdxl", {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}),
        ("sd3", {"ss_base_model_version": "sd3_m"}),
        ("flux", {"modelspec.architecture": "flux-1-dev/lora"}),
        (None, {"ss_base_model_version": "another"}),
        (None, {}),
    ],
)
def test_header_tells_where_nothing_else_does(name, metadata):
    found = family_of({"lora_unet_mid_block_resnets_0_norm1.w_norm": (320,)}, metadata)
    assert (found and found.name) == name
