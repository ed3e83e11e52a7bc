"""pure: weights under the names of diffusers, transformers and llama.cpp taken to their keys in the original layout.

Works on names and tensors of any kind: sizes are read off the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

StateDict = dict[str, torch.Tensor]
Renames = Mapping[str, str | Callable[[re.Match], str]]
"""Pattern in a name -> what stands in its place."""

RESIDUAL_BLOCK = {
    r"\.norm1\.": ".in_layers.0.",
    r"\.conv1\.": ".in_layers.2.",
    r"\.time_emb_proj\.": ".emb_layers.1.",
    r"\.norm2\.": ".out_layers.0.",
    r"\.conv2\.": ".out_layers.3.",
    r"\.conv_shortcut\.": ".skip_connection.",
}
"""Names inside a residual block of a U-Net: diffusers' -> the original's."""

UNET_ENDS = {
    r"^time_embedding\.linear_1\.": "time_embed.0.",
    r"^time_embedding\.linear_2\.": "time_embed.2.",
    r"^(class|add)_embedding\.linear_1\.": "label_emb.0.0.",
    r"^(class|add)_embedding\.linear_2\.": "label_emb.0.2.",
    r"^conv_in\.": "input_blocks.0.0.",
    r"^conv_norm_out\.": "out.0.",
    r"^conv_out\.": "out.2.",
    r"^mid_block\.resnets\.0\.": "middle_block.0.",
    r"^mid_block\.attentions\.0\.": "middle_block.1.",
    r"^mid_block\.resnets\.1\.": "middle_block.2.",
}

VAE_NAMES = {
    r"^(\w+)\.conv_norm_out\.": r"\1.norm_out.",
    r"mid_block\.resnets\.0\.": "mid.block_1.",
    r"mid_block\.resnets\.1\.": "mid.block_2.",
    r"mid_block\.attentions\.0\.": "mid.attn_1.",
    r"attn_1\.group_norm\.": "attn_1.norm.",
    r"attn_1\.(query|key|value)\.": lambda match: f"attn_1.{match[1][0]}.",  # diffusers' names of old
    r"attn_1\.proj_attn\.": "attn_1.proj_out.",
    r"attn_1\.to_([qkv])\.": r"attn_1.\1.",
    r"attn_1\.to_out\.0\.": "attn_1.proj_out.",
    r"down_blocks\.(\d+)\.resnets\.": r"down.\1.block.",
    r"down_blocks\.(\d+)\.downsamplers\.0\.": r"down.\1.downsample.",
    r"conv_shortcut\.": "nin_shortcut.",
}

OPEN_CLIP_NAMES = {
    r"^text_model\.": "",
    r"^embeddings\.token_embedding\.": "token_embedding.",
    r"^embeddings\.position_embedding\.weight$": "positional_embedding",
    r"^final_layer_norm\.": "ln_final.",
    r"^encoder\.layers\.": "transformer.resblocks.",
    r"\.layer_norm1\.": ".ln_1.",
    r"\.layer_norm2\.": ".ln_2.",
    r"\.mlp\.fc1\.": ".mlp.c_fc.",
    r"\.mlp\.fc2\.": ".mlp.c_proj.",
    r"\.self_attn\.out_proj\.": ".attn.out_proj.",
}


MMDIT_NAMES = {
    r"^pos_embed\.pos_embed$": "pos_embed",
    r"^pos_embed\.proj\.": "x_embedder.proj.",
    r"^time_text_embed\.timestep_embedder\.linear_1\.": "t_embedder.mlp.0.",
    r"^time_text_embed\.timestep_embedder\.linear_2\.": "t_embedder.mlp.2.",
    r"^time_text_embed\.text_embedder\.linear_1\.": "y_embedder.mlp.0.",
    r"^time_text_embed\.text_embedder\.linear_2\.": "y_embedder.mlp.2.",
    r"^norm_out\.linear\.": "final_layer.adaLN_modulation.1.",
    r"^proj_out\.": "final_layer.linear.",
    r"^transformer_blocks\.(\d+)\.(attn2?)\.to_q\.": r"joint_blocks.\1.x_block.\2.qkv.",
    r"^transformer_blocks\.(\d+)\.attn\.add_q_proj\.": r"joint_blocks.\1.context_block.attn.qkv.",
    r"^transformer_blocks\.(\d+)\.(attn2?)\.norm_([qk])\.": r"joint_blocks.\1.x_block.\2.ln_\3.",
    r"^transformer_blocks\.(\d+)\.attn\.norm_added_([qk])\.": r"joint_blocks.\1.context_block.attn.ln_\2.",
    r"^transformer_blocks\.(\d+)\.(attn2?)\.to_out\.0\.": r"joint_blocks.\1.x_block.\2.proj.",
    r"^transformer_blocks\.(\d+)\.attn\.to_add_out\.": r"joint_blocks.\1.context_block.attn.proj.",
    r"^transformer_blocks\.(\d+)\.norm1\.linear\.": r"joint_blocks.\1.x_block.adaLN_modulation.1.",
    r"^transformer_blocks\.(\d+)\.norm1_context\.linear\.": r"joint_blocks.\1.context_block.adaLN_modulation.1.",
    r"^transformer_blocks\.(\d+)\.ff\.net\.0\.proj\.": r"joint_blocks.\1.x_block.mlp.fc1.",
    r"^transformer_blocks\.(\d+)\.ff\.net\.2\.": r"joint_blocks.\1.x_block.mlp.fc2.",
    r"^transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj\.": r"joint_blocks.\1.context_block.mlp.fc1.",
    r"^transformer_blocks\.(\d+)\.ff_context\.net\.2\.": r"joint_blocks.\1.context_block.mlp.fc2.",
}
"""Names of SD3's transformer: diffusers' -> the original's, apart from queries, keys and values."""

T5_NAMES = {
    r"^token_embd\.": "shared.",
    r"^enc\.output_norm\.": "encoder.final_layer_norm.",
    r"^enc\.blk\.(\d+)\.attn_norm\.": r"encoder.block.\1.layer.0.layer_norm.",
    r"^enc\.blk\.(\d+)\.attn_rel_b\.": r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.",
    r"^enc\.blk\.(\d+)\.attn_([qkvo])\.": r"encoder.block.\1.layer.0.SelfAttention.\2.",
    r"^enc\.blk\.(\d+)\.ffn_norm\.": r"encoder.block.\1.layer.1.layer_norm.",
    r"^enc\.blk\.(\d+)\.ffn_gate\.": r"encoder.block.\1.layer.1.DenseReluDense.wi_0.",
    r"^enc\.blk\.(\d+)\.ffn_up\.": r"encoder.block.\1.layer.1.DenseReluDense.wi_1.",
    r"^enc\.blk\.(\d+)\.ffn_down\.": r"encoder.block.\1.layer.1.DenseReluDense.wo.",
}
"""Names of a T5 encoder in files of GGUF -> transformers'."""


def rename(name: str, renames: Renames) -> str:
    """Returns a name after all replacements, in their order."""
    for pattern, replacement in renames.items():
        name = re.sub(pattern, replacement, name)
    return name


def original(tensors: StateDict) -> StateDict:
    """Returns the weights of one network under the keys of the original layout, whichever they have."""
    for key, rewrite in REWRITES.items():
        if key in tensors:
            return rewrite(tensors)
    return tensors


def original_unet(tensors: StateDict) -> StateDict:
    """Returns the weights of a U-Net under their names in the original layout."""
    layers = len({name.split(".")[3] for name in tensors if name.startswith("down_blocks.0.resnets.")})
    attending = {name.split(".")[1] for name in tensors if re.match(r"up_blocks\.\d+\.attentions\.", name)}

    def block_name(match: re.Match) -> str:
        """Returns what a module of an encoder's or decoder's block is called in the list of all blocks."""
        side, level, kind, index = match[1], int(match[2]), match[3], int(match[4])
        first = level * (layers + 1) + (1 if side == "down" else 0)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op."
        if kind == "upsamplers":
            return f"output_blocks.{first + layers}.{2 if match[2] in attending else 1}.conv."
        blocks = "input_blocks" if side == "down" else "output_blocks"
        return f"{blocks}.{first + index}.{0 if kind == 'resnets' else 1}."

    found = {}
    for name, tensor in tensors.items():
        where = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(?:conv\.)?", block_name, rename(name, UNET_ENDS))
        found[rename(where, RESIDUAL_BLOCK) if ".resnets." in name else where] = tensor
    return found


def original_mmdit(tensors: StateDict) -> StateDict:
    """Returns the weights of a transformer of SD3 under their names in the original layout.

    q, k and v are one matrix there, and the last norms have shift before scale.
    """
    last = max(int(name.split(".")[1]) for name in tensors if name.startswith("transformer_blocks."))
    turned = ("norm_out.linear.", f"transformer_blocks.{last}.norm1_context.linear.")
    found = {}
    for name, tensor in tensors.items():
        if re.search(r"\.(to|add)_[kv](_proj)?\.", name):
            continue
        if name.startswith(turned):
            tensor = torch.cat(tensor.chunk(2)[::-1])
        elif re.search(r"\.(to|add)_q(_proj)?\.", name):
            parts = (re.sub(r"\.(to|add)_q(_proj)?\.", rf".\1_{letter}\2.", name) for letter in "qkv")
            tensor = torch.cat([tensors[part] for part in parts])
        found[rename(name, MMDIT_NAMES)] = tensor
    return found


def original_vae(tensors: StateDict) -> StateDict:
    """Returns the weights of a VAE under their names in the original layout, whose attention is 1x1 convolutions."""
    last = max(int(name.split(".")[2]) for name in tensors if name.startswith("decoder.up_blocks."))
    decoder = {
        r"up_blocks\.(\d+)\.resnets\.": lambda match: f"up.{last - int(match[1])}.block.",
        r"up_blocks\.(\d+)\.upsamplers\.0\.": lambda match: f"up.{last - int(match[1])}.upsample.",
    }
    found = {}
    for name, tensor in tensors.items():
        where = rename(name, {**VAE_NAMES, **decoder})
        is_matrix = ".attn_1." in where and tensor.ndim == 2
        found[where] = tensor[..., None, None] if is_matrix else tensor
    return found


def original_clip(tensors: StateDict) -> StateDict:
    """Returns the weights of a text encoder under transformers' names of old, below `text_model.`."""
    outside = ("text_model.", "text_projection", "logit_scale")
    return {name if name.startswith(outside) else f"text_model.{name}": tensor for name, tensor in tensors.items()}


def original_open_clip(tensors: StateDict) -> StateDict:
    """Returns the weights of a text encoder under their names in OpenCLIP, with one matrix for q, k and v."""
    found = {}
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif ".q_proj." in name:
            parts = [tensors[name.replace(".q_proj.", f".{letter}_proj.")] for letter in "qkv"]
            where = rename(name, OPEN_CLIP_NAMES).replace(".self_attn.q_proj.", ".attn.in_proj_")
            found[where] = torch.cat(parts)
        elif ".k_proj." not in name and ".v_proj." not in name:
            found[rename(name, OPEN_CLIP_NAMES)] = tensor
    return found


def original_t5(tensors: StateDict) -> StateDict:
    """Returns the weights of a T5 encoder in GGUF under transformers' names."""
    return {rename(name, T5_NAMES): tensor for name, tensor in tensors.items()}


REWRITES: dict[str, Callable[[StateDict], StateDict]] = {
    "pos_embed.pos_embed": original_mmdit,
    "down_blocks.0.resnets.0.conv1.weight": original_unet,
    "decoder.up_blocks.0.resnets.0.conv1.weight": original_vae,
    "encoder.layers.0.mlp.fc1.weight": original_clip,
    "enc.blk.0.attn_q.weight": original_t5,
}
"""A key that only a network under such names has -> what names its weights as the original layout does."""


def of_loaded_module(tensors: StateDict, prefix: str) -> StateDict:
    """Returns the weights of a VAE or a text encoder of a loaded model under their keys in checkpoints.

    tensors: by the names that the module gives them, learned vectors attached or not. prefix: of the keys.
    """
    bare = {}
    for name, tensor in tensors.items():
        name = re.sub(r"^(wrapped\.)?(transformer\.)?", "", name)
        bare[name.replace("token_embedding.wrapped.", "token_embedding.")] = tensor
    rewrite = original_open_clip if prefix.endswith(".model.") else original
    return {prefix + name: tensor for name, tensor in rewrite(bare).items()}
