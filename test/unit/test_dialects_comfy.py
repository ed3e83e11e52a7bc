"""Graphs of ComfyUI as people make them: other loaders, encoders and samplers, and parts that are switched off."""

from __future__ import annotations

import json

import pytest

from modules.dialects import base, comfy

SAMPLING = {"seed": 7, "steps": 12, "cfg": 6.5, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def plain(**changes):
    """A graph of one sampler, whose nodes have names; changes replace and add nodes."""
    nodes = {
        "model": node("CheckpointLoaderSimple", ckpt_name="sd/fruit.safetensors"),
        "yes": node("CLIPTextEncode", text="red apple", clip=["model", 1]),
        "no": node("CLIPTextEncode", text="blurry", clip=["model", 1]),
        "latent": node("EmptyLatentImage", width=64, height=48, batch_size=1),
        "sampler": node(
            "KSampler",
            **SAMPLING,
            model=["model", 0],
            positive=["yes", 0],
            negative=["no", 0],
            latent_image=["latent", 0],
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["model", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="image"),
    }
    for name, change in changes.items():
        nodes[name] = (
            change if "class_type" in change else node(nodes[name]["class_type"], **inputs(nodes, name, change))
        )
    return nodes


def inputs(nodes, name, change):
    return {key: value for key, value in (nodes[name]["inputs"] | change).items() if value is not None}


def read(nodes, size=(0, 0)):
    return comfy.read_comfy(base.Chunks({"prompt": json.dumps(nodes)}, size))


def test_a_plain_graph():
    reading = read(plain())
    assert (reading.prompt, reading.negative_prompt, reading.networks) == ("red apple", "blurry", [])
    assert reading.parameters == {
        "Steps": 12,
        "Sampler": "Euler",
        "Schedule type": "Normal",
        "CFG scale": 6.5,
        "Seed": 7,
        "Size": "64x48",
        "Model": "fruit",
    }


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        (node("CLIPTextEncodeSDXL", text_g="red", text_l="apple", width=1024, clip=["model", 1]), "red\napple"),
        (node("CLIPTextEncodeSDXL", text_g="red", text_l="red", clip=["model", 1]), "red"),
        (node("CLIPTextEncodeSDXL", text_g="", text_l="apple", clip=["model", 1]), "apple"),
        (node("CLIPTextEncodeFlux", clip_l="red", t5xxl="a red apple", guidance=3.5, clip=["model", 1]), "a red apple"),
        (node("CLIPTextEncodeFlux", clip_l="red", t5xxl="", guidance=3.5, clip=["model", 1]), "red"),
        (node("CLIPTextEncodeSD3", clip_l="red", clip_g="red", t5xxl="", clip=["model", 1]), "red"),
        (node("ImpactWildcardEncode", wildcard_text="{a|b}", populated_text="a", clip=["model", 1]), "a"),
        (node("ConditioningCombine", conditioning_1=["one", 0], conditioning_2=["two", 0]), "red\napple"),
        (node("ConditioningConcat", conditioning_to=["one", 0], conditioning_from=["two", 0]), "red\napple"),
        (node("ConditioningSetArea", conditioning=["one", 0], width=64, height=64, strength=1), "red"),
        (node("ControlNetApply", conditioning=["one", 0], control_net=["cn", 0], strength=1), "red"),
        (node("ControlNetApplyAdvanced", positive=["one", 0], negative=["two", 0], control_net=["cn", 0]), "red"),
        (node("FluxGuidance", conditioning=["one", 0], guidance=3.5), "red"),
        (node("Any Switch (rgthree)", any_01=["one", 0], any_02=["two", 0]), "red"),
        (node("CLIPTextEncode", text=["joined", 0], clip=["model", 1]), "red, apple"),
        (node("CLIPTextEncode", text=["styled", 0], clip=["model", 1]), "styled"),
        (node("ConditioningZeroOut", conditioning=["one", 0]), ""),
    ],
)
def test_prompts_are_followed_through_encoders_and_conditions(encoder, expected):
    more = {
        "one": node("CLIPTextEncode", text="red", clip=["model", 1]),
        "two": node("CLIPTextEncode", text="apple", clip=["model", 1]),
        "cn": node("ControlNetLoader", control_net_name="canny.safetensors"),
        "joined": node("StringConcatenate", string_a="red", string_b=["word", 0], delimiter=", "),
        "word": node("PrimitiveStringMultiline", value="apple"),
        "styled": node("ShowText|pysssss", text=["word2", 0], text_0="styled"),
        "word2": node("SomeoneElse", strange=1),
    }
    assert read(plain(yes=encoder, **more)).prompt == expected


def test_a_control_net_leaves_each_role_its_own_prompt():
    both = node("ControlNetApplyAdvanced", positive=["yes", 0], negative=["no", 0], control_net=["cn", 0], strength=1)
    reading = read(plain(both=both, sampler={"positive": ["both", 0], "negative": ["both", 1]}))
    assert (reading.prompt, reading.negative_prompt) == ("red apple", "blurry")


def test_a_negative_that_is_zeroed_out_is_none():
    nodes = plain(zero=node("ConditioningZeroOut", conditioning=["yes", 0]), sampler={"negative": ["zero", 0]})
    assert read(nodes).negative_prompt == ""


def test_efficiency_nodes():
    loader = node(
        "Efficient Loader",
        ckpt_name="fruit.safetensors",
        vae_name="Baked VAE",
        clip_skip=-2,
        lora_name="shine.safetensors",
        lora_model_strength=0.8,
        lora_clip_strength=0.8,
        positive="red apple",
        negative="blurry",
        empty_latent_width=64,
        empty_latent_height=48,
        batch_size=2,
        lora_stack=["stack", 0],
    )
    stack = node(
        "LoRA Stacker",
        input_mode="simple",
        lora_count=2,
        lora_name_1="wood.safetensors",
        lora_wt_1=0.5,
        model_str_1=0.9,
        lora_name_2="None",
        lora_wt_2=1,
        lora_name_3="left over.safetensors",
        lora_wt_3=1,
    )
    links = {"model": ["load", 0], "positive": ["load", 1], "negative": ["load", 2], "latent_image": ["load", 3]}
    sampler = node("KSampler (Efficient)", **SAMPLING, **links, preview_method="auto", vae_decode="true")
    nodes = {"load": loader, "stack": stack, "k": sampler, "s": node("SaveImage", images=["k", 5])}
    reading = read(nodes)
    assert (reading.prompt, reading.negative_prompt) == ("red apple", "blurry")
    assert sorted(reading.networks) == [("shine", 0.8), ("wood", 0.5)]
    assert reading.parameters["Size"] == "64x48" and reading.parameters["Batch size"] == 2
    assert reading.parameters["Clip skip"] == 2 and reading.parameters["Model"] == "fruit"
    assert "VAE" not in reading.parameters


def test_power_lora_loader_and_its_switches():
    power = node(
        "Power Lora Loader (rgthree)",
        PowerLoraLoaderHeaderWidget={"type": "PowerLoraLoaderHeaderWidget"},
        lora_1={"on": True, "lora": "sub/shine.safetensors", "strength": 0.8},
        lora_2={"on": False, "lora": "wood.safetensors", "strength": 1},
        lora_3={"on": True, "lora": "None", "strength": 1},
        model=["model", 0],
        clip=["model", 1],
    )
    assert read(plain(power=power, sampler={"model": ["power", 0]})).networks == [("shine", 0.8)]


def test_stacks_of_networks():
    rgthree = node(
        "Lora Loader Stack (rgthree)", lora_01="a.safetensors", strength_01=0.3, lora_02="None", strength_02=1
    )
    rgthree["inputs"] |= {"model": ["cr", 0]}
    cr = node("CR LoRA Stack", switch_1="Off", lora_name_1="b.safetensors", model_weight_1=1)
    cr["inputs"] |= {"switch_2": "On", "lora_name_2": "c.safetensors", "model_weight_2": 0.4, "model": ["model", 0]}
    networks = read(plain(rg=rgthree, cr=cr, sampler={"model": ["rg", 0]})).networks
    assert networks == [("c", 0.4), ("a", 0.3)]


def test_a_refiner_goes_on_where_the_base_stopped():
    advanced = {"steps": 25, "cfg": 6.5, "sampler_name": "euler", "scheduler": "normal"}
    links = {"positive": ["yes", 0], "negative": ["no", 0]}
    first = advanced | links | {"add_noise": "enable", "noise_seed": ["seed", 0], "start_at_step": 0, "end_at_step": 20}
    second = advanced | links | {"add_noise": "disable", "noise_seed": 0, "start_at_step": 20, "end_at_step": 10000}
    nodes = plain(
        seed=node("Seed (rgthree)", seed=99),
        refiner=node("CheckpointLoaderSimple", ckpt_name="polish.safetensors"),
        base=node("KSamplerAdvanced", **first, model=["model", 0], latent_image=["latent", 0]),
        sampler=node("KSamplerAdvanced", **second, model=["refiner", 0], latent_image=["base", 0]),
    )
    parameters = read(nodes).parameters
    assert {key: parameters.get(key) for key in ("Seed", "Model", "Refiner", "Refiner switch at", "Steps", "Size")} == {
        "Seed": 99,
        "Model": "fruit",
        "Refiner": "polish",
        "Refiner switch at": 0.8,
        "Steps": 25,
        "Size": "64x48",
    }
    assert "Denoising strength" not in parameters


def test_a_latent_that_is_enlarged_between_two_samplers():
    nodes = plain(
        first=node(
            "KSampler",
            **SAMPLING | {"seed": 1},
            model=["model", 0],
            positive=["yes", 0],
            negative=["no", 0],
            latent_image=["latent", 0],
        ),
        grow=node("LatentUpscaleBy", upscale_method="nearest-exact", scale_by=1.5, samples=["first", 0]),
        sampler={"latent_image": ["grow", 0], "denoise": 0.5},
    )
    parameters = read(nodes).parameters
    assert (parameters["Size"], parameters["Denoising strength"], parameters["Seed"]) == ("96x72", 0.5, 7)
    nodes["grow"] = node("LatentUpscale", upscale_method="bislerp", width=128, height=96, samples=["first", 0])
    assert read(nodes).parameters["Size"] == "128x96"


def test_a_size_that_a_model_changed_is_not_invented():
    nodes = plain(
        first=node("KSampler", **SAMPLING, positive=["yes", 0], negative=["no", 0], latent_image=["latent", 0]),
        image=node("VAEDecode", samples=["first", 0], vae=["model", 2]),
        large=node("ImageUpscaleWithModel", upscale_model=["esrgan", 0], image=["image", 0]),
        esrgan=node("UpscaleModelLoader", model_name="4x.pth"),
        half=node("ImageScaleBy", upscale_method="area", scale_by=0.5, image=["large", 0]),
        encode=node("VAEEncode", pixels=["half", 0], vae=["model", 2]),
        sampler={"latent_image": ["encode", 0], "denoise": 0.4},
    )
    parameters = read(nodes).parameters
    assert "Size" not in parameters
    assert parameters["Model"] == "fruit"


def test_image_to_image():
    nodes = plain(
        source=node("LoadImage", image="a.png"),
        encode=node("VAEEncode", pixels=["source", 0], vae=["model", 2]),
        sampler={"latent_image": ["encode", 0], "denoise": 0.6},
    )
    parameters = read(nodes).parameters
    assert parameters["Denoising strength"] == 0.6 and "Size" not in parameters


def test_flux_with_guider_and_guidance():
    nodes = plain(
        model=node("UNETLoader", unet_name="flux/flux1-dev.safetensors", weight_dtype="default"),
        shift=node("ModelSamplingFlux", model=["model", 0], max_shift=1.15, width=64, height=48),
        guidance=node("FluxGuidance", conditioning=["yes", 0], guidance=3.5),
        guider=node("BasicGuider", model=["shift", 0], conditioning=["guidance", 0]),
        select=node("KSamplerSelect", sampler_name="euler"),
        sigmas=node("BasicScheduler", model=["shift", 0], scheduler="simple", steps=20, denoise=1),
        split=node("SplitSigmas", sigmas=["sigmas", 0], step=20),
        noise=node("RandomNoise", noise_seed=5),
        vae=node("VAELoader", vae_name="ae.safetensors"),
        other=node("VAELoader", vae_name="unused.safetensors"),
        decode={"vae": ["vae", 0]},
        sampler=node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["select", 0],
            sigmas=["split", 0],
            latent_image=["latent", 0],
        ),
    )
    reading = read(nodes)
    assert (reading.prompt, reading.negative_prompt) == ("red apple", "")
    assert reading.parameters == {
        "Steps": 20,
        "Sampler": "Euler",
        "Schedule type": "Simple",
        "CFG scale": 1,
        "Seed": 5,
        "Distilled CFG Scale": 3.5,
        "Size": "64x48",
        "Model": "flux1-dev",
        "VAE": "ae",
    }


def test_samplers_and_schedules_that_are_nodes():
    nodes = plain(
        choose=node("SamplerEulerAncestral", eta=1, s_noise=1),
        sigmas=node("KarrasScheduler", steps=9, sigma_max=14.6, sigma_min=0.03, rho=7),
        sampler=node(
            "SamplerCustom",
            add_noise=True,
            noise_seed=3,
            cfg=5,
            model=["model", 0],
            positive=["yes", 0],
            negative=["no", 0],
            sampler=["choose", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
    )
    parameters = read(nodes).parameters
    assert [parameters[key] for key in ("Sampler", "Schedule type", "Steps", "Seed")] == ["Euler a", "Karras", 9, 3]
    nodes["choose"], nodes["sigmas"] = node("SamplerOfMine"), node("GITSScheduler", steps=9, coeff=1.2)
    parameters = read(nodes).parameters
    assert parameters[base.UNKNOWN_SAMPLER] == "SamplerOfMine" and parameters[base.UNKNOWN_SCHEDULE] == "GITSScheduler"


def test_values_from_a_node_of_settings_are_those_of_the_same_name():
    settings = node("KSampler Config (rgthree)", steps_total=30, refiner_step=24, cfg=4, sampler_name="ddim", seed=1)
    nodes = plain(settings=settings, sampler={"steps": ["settings", 0], "cfg": ["settings", 2]})
    parameters = read(nodes).parameters
    assert (parameters["Steps"], parameters["CFG scale"]) == (30, 4)
    assert "Steps" not in read(plain(only=node("Seed", seed=5), sampler={"steps": ["only", 0]})).parameters


def test_a_saver_that_is_told_the_settings_is_not_the_sampler():
    saver = node("Image Saver", images=["decode", 0], steps=99, positive="told", seed_value=3, sampler_name="ddim")
    reading = read(plain(save=saver))
    assert (reading.prompt, reading.parameters["Steps"], reading.parameters["Seed"]) == ("red apple", 12, 7)


def test_a_tuple_of_everything_and_a_guider_of_two_prompts():
    loader = node("Eff. Loader SDXL", base_ckpt_name="fruit.safetensors", positive="red apple", negative="blurry")
    sampler = node("KSampler SDXL (Eff.)", noise_seed=4, steps=9, cfg=3, sampler_name="euler", sdxl_tuple=["load", 0])
    reading = read({"load": loader, "k": sampler, "s": node("SaveImage", images=["k", 5])})
    assert (reading.prompt, reading.negative_prompt) == ("red apple", "blurry")
    assert [reading.parameters[key] for key in ("Steps", "Seed", "Model")] == [9, 4, "fruit"]
    guider = node("DualCFGGuider", cfg_conds=4, cond1=["yes", 0], negative=["no", 0], model=["model", 0])
    parts = {"guider": guider, "sigmas": node("BasicScheduler", steps=5, scheduler="simple")}
    custom = node("SamplerCustomAdvanced", guider=["guider", 0], sigmas=["sigmas", 0], latent_image=["latent", 0])
    assert read(plain(sampler=custom, **parts)).prompt == "red apple"


def test_a_size_that_a_preset_decides_is_not_told():
    preset = node("CR SDXL Aspect Ratio", width=1024, height=1024, aspect_ratio="3:4", swap_dimensions="Off")
    nodes = plain(preset=preset, latent={"width": ["preset", 0], "height": ["preset", 1]})
    assert "Size" not in read(nodes).parameters
    nodes["preset"] = node("Size", width=64, height=48)
    assert read(nodes).parameters["Size"] == "64x48"


def test_a_seed_that_stands_for_any_is_not_told():
    assert "Seed" not in read(plain(sampler={"seed": -1})).parameters


def test_what_corrects_a_face_is_not_the_sampler():
    face = node("FaceDetailer", image=["decode", 0], steps=3, seed=1, denoise=0.3, positive=["yes", 0])
    assert read(plain(face=face, save={"images": ["face", 0]})).parameters["Steps"] == 12


def test_of_several_saved_images_the_one_of_this_size_counts():
    nodes = plain(
        grow=node("LatentUpscaleBy", scale_by=2, samples=["sampler", 0]),
        second=node(
            "KSampler", **SAMPLING | {"steps": 4}, positive=["yes", 0], negative=["no", 0], latent_image=["grow", 0]
        ),
        decode2=node("VAEDecode", samples=["second", 0], vae=["model", 2]),
        save2=node("SaveImage", images=["decode2", 0]),
    )
    assert read(nodes, (64, 48)).parameters["Steps"] == 12
    assert read(nodes, (128, 96)).parameters["Steps"] == 4


def test_an_infotext_that_a_node_wrote_beside_the_graph_counts():
    graph = json.dumps(plain())
    text = "pear\nSteps: 20, Sampler: Euler, Seed: 1, Size: 64x48"
    assert not comfy.is_comfy(base.Chunks({"prompt": graph, "parameters": text}))
    assert comfy.is_comfy(base.Chunks({"prompt": graph, "parameters": "a note"}))
    assert comfy.is_comfy(base.Chunks({"prompt": graph}))


def test_merged_checkpoints_are_both_named():
    nodes = plain(
        other=node("CheckpointLoaderSimple", ckpt_name="pear.ckpt"),
        merge=node("ModelMergeSimple", model1=["model", 0], model2=["other", 0], ratio=0.5),
        sampler={"model": ["merge", 0]},
    )
    assert read(nodes).parameters["Model"] == "fruit + pear"


def test_texts_that_are_joined_again_and_again_end():
    nodes = plain(yes=node("CLIPTextEncode", text=["0", 0], clip=["model", 1]))
    for i in range(90):
        nodes[str(i)] = node("Join", text_a=[str(i + 1), 0], text_b=[str(i + 1), 0])
    nodes["90"] = node("PrimitiveString", value="x" * 1000)
    assert len(read(nodes).prompt) <= 20_000_000
