"""Jobs with networks of the LoRA family: exactly applied, exactly undone, whatever comes between."""

import random

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from modules import extra_networks, script_callbacks, sd_models, shared
from modules.adapters import Lora
from test.quality import golden
from test.quality.api_jobs import distance
from test.unit.checkpoint_files import write_checkpoint
from tools import tiny_checkpoints

ONE = "red apple <lora:lab-lora:0.8>"
TWO = "red apple <lora:lab-lora:0.5> <lora:lab-second:0.7>"


@pytest.fixture(scope="module", autouse=True)
def files(network_files):
    """The golden networks are where the program looks for them."""
    return network_files


@pytest.fixture(scope="module")
def networks(client):
    """The module of the extension."""
    import networks

    return networks


def bytes_of(model):
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


@pytest.fixture
def model(client):
    """The current model."""
    sd_models.reload_model_weights()
    return shared.sd_model


@pytest.fixture
def untouched(model):
    """The weights of the model, which have to be the same at the end."""
    before = bytes_of(model)
    yield before
    assert bytes_of(model) == before


@pytest.fixture
def computed(monkeypatch):
    """The layers to which a network was added, one entry each time."""
    calls = []
    add_to = Lora.add_to
    monkeypatch.setattr(Lora, "add_to", lambda self, *args: [calls.append(self), add_to(self, *args)][1])
    return calls


def comments(result):
    return result.info.get("comments", "")


def test_on_off_on(txt2img, untouched):
    plain, first = txt2img(), txt2img(prompt=ONE)
    assert plain.pixels != first.pixels
    assert txt2img().pixels == plain.pixels
    assert txt2img(prompt=ONE).pixels == first.pixels


def test_same_tags_in_the_next_job_cost_nothing(txt2img, computed, monkeypatch, model):
    first = txt2img(prompt=TWO)
    added = len(computed)
    assert added > 100
    texts = []
    encode = type(model).get_learned_conditioning
    monkeypatch.setattr(type(model), "get_learned_conditioning", lambda self, t: [texts.append(t), encode(self, t)][1])
    assert txt2img(prompt=TWO).pixels == first.pixels
    assert (len(computed), texts) == (added, [])


def test_only_what_changes_is_computed(txt2img, computed, networks):
    """lab-second is for a few layers of the U-Net; the text encoder has nothing to do with it."""
    txt2img(prompt=TWO)
    computed.clear()
    txt2img(prompt=TWO.replace("0.7", "0.3"))
    layers = networks.loaded_networks[1].file.layers
    assert 0 < len(computed) <= 2 * len(layers)
    assert set(layers.values()) <= set(computed)


def test_order_moves_nothing_but_float_noise(txt2img):
    a, b = "<lora:lab-lora:0.5>", "<lora:lab-second:0.7>"
    for first, second in (
        (a, b),
        ("<lora:lab-ia3:1>", "<lora:lab-oft:1>"),
        ("<lora:lab-glora:1>", "<lora:lab-full:1>"),
    ):
        there, back = (txt2img(prompt=f"red apple {tags}") for tags in (first + second, second + first))
        assert distance(there.images[0], back.images[0]) < 0.1


def test_each_image_of_a_batch_equals_its_single_run(txt2img):
    batch = txt2img(prompt=ONE, batch_size=2, n_iter=2, override_settings={"return_grid": False})
    assert len(batch.images) == 4
    for number, image in enumerate(batch.images):
        (single,) = txt2img(prompt=ONE, seed=1 + number).images
        assert golden.pixel_problem(image, single) is None
    assert golden.pixel_problem(batch.images[0], batch.images[1]) is not None


def test_job_equals_the_same_weights_merged_by_hand(txt2img, client, files, model):
    strength, tensors = 0.8, load_file(files / "lab-lora.safetensors")
    keys = {place: key for key, places in model.weight_places.items() for place in places}
    modules = {f"lora_unet_{name}".replace(".", "_"): m for name, m in model.network("denoiser").named_modules()}
    for name, module in model.cond_stage_model.wrapped.transformer.named_modules():
        name = name if name.startswith("text_model") else f"text_model.{name}"
        modules[f"lora_te_{name}".replace(".", "_")] = module

    def merge(weights):
        for name in {key.partition(".")[0] for key in tensors}:
            place = next(place for place in keys if place.module is modules[name] and place.name == "weight")
            up, down = (tensors[f"{name}.lora_{part}.weight"].double().flatten(1) for part in ("up", "down"))
            scale = tensors[f"{name}.alpha"].item() / down.shape[0]
            weight = weights[keys[place]]
            weights[keys[place]] = (weight.double() + strength * scale * (up @ down).reshape(weight.shape)).float()

    file = write_checkpoint(files.parent / "Stable-diffusion" / "merged.safetensors", merge)
    sd_models.list_models()
    by_hand = txt2img(steps=8, override_settings={"sd_model_checkpoint": "merged"})
    with_tag = txt2img(steps=8, prompt=f"red apple<lora:lab-lora:{strength}>")
    file.unlink()
    sd_models.list_models()
    pairs = zip(by_hand.pixels[0], with_tag.pixels[0], strict=True)
    assert max(abs(a - b) for a, b in pairs) <= 1
    assert txt2img(steps=8).pixels != with_tag.pixels


TAGS = ["<lora:lab-lora:{}>", "<lora:lab-second:{}>", "<lora:lab-locon:{}>", "<lora:lab-oft:{}>", "<lora:lab-norm:{}>"]


def test_fifty_changes_of_weights_networks_and_models(txt2img, second_checkpoint, model):
    pick = random.Random(1)
    txt2img(override_settings={"sd_model_checkpoint": second_checkpoint})
    models = {model.sd_checkpoint_info.model_name: model for model in sd_models.model_data.loaded_sd_models}
    before = {name: bytes_of(model) for name, model in models.items()}
    plain = {}
    for _ in range(50):
        tags = [tag.format(pick.choice([-0.5, 0.3, 1])) for tag in TAGS if pick.random() < 0.4]
        fields = {"prompt": f"red apple {''.join(tags)}", "steps": 1}
        name = pick.choice(["demo-emoji", second_checkpoint])
        if pick.random() < 0.2:
            fields |= {"refiner_checkpoint": second_checkpoint, "refiner_switch_at": 0}
        if name == second_checkpoint:
            fields["override_settings"] = {"sd_model_checkpoint": second_checkpoint}
        result = txt2img(**fields)
        if not tags and "refiner_checkpoint" not in fields:
            assert result.pixels == plain.setdefault(name, result.pixels)
            assert bytes_of(models[name]) == before[name]
    assert {name: bytes_of(model) for name, model in models.items()} == before


def test_refiner_and_hires_checkpoint_have_the_networks_too(txt2img, second_checkpoint):
    alone = txt2img(prompt=ONE, override_settings={"sd_model_checkpoint": second_checkpoint})
    assert txt2img(prompt=ONE, refiner_checkpoint=second_checkpoint, refiner_switch_at=0).pixels == alone.pixels
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
    there = txt2img(prompt=ONE, hr_checkpoint_name=second_checkpoint, **hires)
    assert there.pixels != txt2img(hr_checkpoint_name=second_checkpoint, **hires).pixels


def test_hires_prompt_has_networks_of_its_own(txt2img, untouched):
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.6, "hr_upscaler": "Latent"}
    same, other = txt2img(prompt=ONE, **hires), txt2img(prompt=ONE, hr_prompt="red apple <lora:lab-second:1>", **hires)
    none = txt2img(prompt=ONE, hr_prompt="red apple", **hires)
    assert len({same.pixels[0], other.pixels[0], none.pixels[0]}) == 3
    assert same.fields["Lora hashes"] == none.fields["Lora hashes"] == '"lab-lora: be6b1d937fa0"'
    assert other.fields["Lora hashes"] == '"lab-lora: be6b1d937fa0, lab-second: a7385bd37542"'
    assert txt2img(prompt=ONE, **hires).pixels == same.pixels


@pytest.mark.parametrize(
    ("tag", "same_as"),
    [
        ("<lyco:lab-lora:0.5>", "<lora:lab-lora:0.5>"),
        ("<lora:lab-lora-alias:0.5>", "<lora:lab-lora:0.5>"),
        ("<lora:lab-lora>", "<lora:lab-lora:1>"),
        ("<lora:lab-lora:0.2:0.9>", "<lora:lab-lora:te=0.2:unet=0.9>"),
        ("<lora:lab-lora:0.7:te=0.2>", "<lora:lab-lora:0.2:0.2>"),
        ("<lora:lab-lora:0.5:0.5:1>", "<lora:lab-lora:0.5:dyn=1>"),
        ("<lora:lab-lora:0.5:dyn=2>", "<lora:lab-lora:0.5>"),
        ("<lora:lab-lora:0.9><lora:lab-lora:0.25>", "<lora:lab-lora:0.5>"),
        ("<lora:lab-lora:0>", ""),
        ("<lora:not-there:1>", ""),
        ("<lora:None:1>", ""),
        ("<lora:lab-lora:inf>", ""),
        ("<lora:lab-lora:abc><lora:lab-second:1>", "<lora:lab-second:1>"),
    ],
)
def test_forms_of_the_tag(txt2img, tag, same_as):
    expected = txt2img(prompt=f"red apple {same_as}")
    assert distance(txt2img(prompt=f"red apple {tag}").images[0], expected.images[0]) < 0.02
    assert bool(same_as) == (distance(expected.images[0], txt2img(prompt="red apple ").images[0]) > 0.02)


def test_first_ranks_alone_make_another_image(txt2img):
    assert (
        txt2img(prompt="red apple <lora:lab-lora:1:dyn=1>").pixels
        != txt2img(prompt="red apple <lora:lab-lora:1>").pixels
    )


def test_text_and_unet_have_strengths_of_their_own(txt2img):
    tags = ["<lora:lab-lora:1:0>", "<lora:lab-lora:0:1>", "<lora:lab-lora:1:1>", ""]
    assert len({txt2img(prompt=f"red apple {tag}").pixels[0] for tag in tags}) == 4


def test_tag_of_one_part_or_step_is_for_the_whole_image(txt2img):
    both = txt2img(prompt="red apple AND blue car <lora:lab-lora:0.8>")
    assert both.pixels == txt2img(prompt="red apple <lora:lab-lora:0.8> AND blue car ").pixels
    assert both.pixels != txt2img(prompt="red apple AND blue car ").pixels


def test_what_is_missing_or_unused_is_told_and_the_rest_works(txt2img, files):
    (files / "broken.safetensors").write_bytes((files / "lab-lora.safetensors").read_bytes()[:2000])
    prompt = "red apple <lora:not-there:1><lora:nor-this:1><lora:broken:1><lora:lab-wrong-keys:1><lora:lab-second:1>"
    for _ in range(2):
        result = txt2img(prompt=prompt)
        lines = comments(result).splitlines()
        assert "Lora not found: not-there, nor-this" in lines
        assert "Lora broken cannot be read and is left out" in lines
        assert any(line.startswith("lab-wrong-keys ") and "lora_unet_no_such_block_0_attn" in line for line in lines)
        assert result.pixels == txt2img(prompt="red apple <lora:lab-second:1>").pixels
    assert result.fields["Lora hashes"] == '"lab-wrong-keys: f9fe9124db17, lab-second: a7385bd37542"'
    (files / "broken.safetensors").unlink()


def test_network_of_another_family_says_so(txt2img, files):
    name = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 1280), f"{name}.lora_up.weight": torch.ones(5120, 2)}
    save_file(tensors, files / "for-xl.safetensors")
    result = txt2img(prompt="red apple <lora:for-xl:1>")
    (files / "for-xl.safetensors").unlink()
    assert "is for Stable Diffusion XL" in comments(result)
    assert result.pixels == txt2img(prompt="red apple ").pixels


def test_layer_that_does_not_fit_is_counted_and_the_others_work(txt2img, files, untouched):
    tensors = load_file(files / "lab-second.safetensors")
    name = next(key.partition(".")[0] for key in tensors)
    wrong = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{name}.")}
    wrong |= {f"{name}.lora_up.weight": torch.ones(3, 1), f"{name}.lora_down.weight": torch.ones(1, 5)}
    save_file(wrong, files / "half-wrong.safetensors")
    for prompt in ("red apple <lora:half-wrong:1>", "red apple <lora:half-wrong:0.5>"):
        result = txt2img(prompt=prompt)
        assert "Networks with errors: half-wrong (1)" in comments(result).splitlines()
        assert result.pixels != txt2img(prompt="red apple ").pixels
    (files / "half-wrong.safetensors").unlink()


@pytest.mark.parametrize("event", ["error", "interrupt"])
def test_what_happens_in_the_middle_leaves_the_originals(txt2img, untouched, monkeypatch, event):
    plain, expected = txt2img(prompt="red apple "), txt2img(prompt=ONE)
    txt2img(prompt="red apple <lora:lab-second:1>")
    calls = []
    add_to = Lora.add_to

    def half_way(self, *args):
        calls.append(self)
        if len(calls) == 20:
            shared.state.interrupt()
            if event == "error":
                raise MemoryError
        add_to(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Lora, "add_to", half_way)
        txt2img(prompt=ONE)
    assert len(calls) >= 20
    assert txt2img(prompt="red apple ").pixels == plain.pixels
    assert txt2img(prompt=ONE).pixels == expected.pixels


def test_network_of_the_setting_is_in_every_prompt(txt2img, settings):
    tagged = txt2img(prompt="red apple<lora:lab-lora:0.8>")
    plain = txt2img()  # its text is remembered
    with shared.opts.overlay({"sd_lora": "lab-lora", "extra_networks_default_multiplier": 0.8}):
        everywhere = txt2img()
        own = txt2img(prompt="red apple<lora:lab-lora:0.1>")
    assert everywhere.pixels == tagged.pixels
    assert everywhere.infotexts[0].startswith("red apple<lora:lab-lora:0.8>\n")
    assert own.infotexts[0].startswith("red apple<lora:lab-lora:0.1>\n")
    assert txt2img().pixels == plain.pixels


def test_hashes_are_written_if_the_setting_says_so(txt2img):
    assert txt2img(prompt=ONE).fields["Lora hashes"] == '"lab-lora: be6b1d937fa0"'
    quiet = txt2img(prompt=ONE, override_settings={"lora_add_hashes_to_infotext": False})
    assert "Lora hashes" not in quiet.fields


@pytest.mark.parametrize("name", ["lab-lora", "lab-locon", "lab-oft", "lab-norm", "lab-full", "lab-lokr"])
def test_beside_the_layers_networks_do_the_same_and_touch_no_weight(txt2img, untouched, model, name):
    prompt = f"red apple <lora:{name}:0.6>"
    in_weights = txt2img(prompt=prompt)
    assert model.patches.resting or name
    beside = txt2img(prompt=prompt, override_settings={"lora_functional": True})
    assert distance(in_weights.images[0], beside.images[0]) < 0.1
    assert model.patches.weights.originals == {}
    assert not any(layer._forward_hooks for layer in model.modules())


def test_file_that_is_replaced_is_read_again(txt2img, files):
    file = files / "changing.safetensors"
    file.write_bytes((files / "lab-second.safetensors").read_bytes())
    first = txt2img(prompt="red apple <lora:changing:1>")
    file.unlink()
    file.write_bytes((files / "lab-lora.safetensors").read_bytes())
    second = txt2img(prompt="red apple <lora:changing:1>")
    file.unlink()
    assert first.pixels == txt2img(prompt="red apple <lora:lab-second:1>").pixels
    assert second.pixels == txt2img(prompt="red apple <lora:lab-lora:1>").pixels


def test_file_that_is_added_is_found_and_other_aliases_stay(txt2img, files, networks):
    file = files / "added.safetensors"
    file.write_bytes((files / "lab-second.safetensors").read_bytes())
    both = txt2img(prompt="red apple <lora:lab-lora:0.5><lora:added:0.7>")
    assert "lab-lora-alias" not in networks.forbidden_network_aliases
    file.unlink()
    networks.list_available_networks()
    assert both.pixels == txt2img(prompt="red apple <lora:lab-lora:0.5><lora:lab-second:0.7>").pixels


def test_networks_are_kept_in_memory_as_the_setting_says(txt2img, networks, settings):
    settings(lora_in_memory_limit=2)
    for name in ("lab-lora", "lab-second", "lab-locon"):
        txt2img(prompt=f"red apple <lora:{name}:1>", steps=1)
    assert list(networks.networks_in_memory) == ["lab-second", "lab-locon"]
    settings(lora_in_memory_limit=0)
    networks.purge_networks_from_memory()
    assert networks.networks_in_memory == {}


def test_strengths_that_an_extension_changes_meanwhile_count(txt2img, networks, monkeypatch):
    expected = txt2img(prompt="red apple <lora:lab-lora:1:0.3>", steps=4)

    def change(params):
        networks.loaded_networks[0].unet_multiplier = 0.3

    script_callbacks.on_cfg_denoiser(change, name="test")
    result = txt2img(prompt="red apple <lora:lab-lora:1:1>", steps=4)
    script_callbacks.remove_callbacks_for_function(change)
    assert result.pixels == expected.pixels


def test_extension_that_replaces_the_forward_of_layers(txt2img, networks, untouched, monkeypatch):
    """As regional prompters do: each layer asks anew, some change strengths on the way, none is left active."""
    expected = txt2img(prompt="red apple <lora:lab-lora:0.7:0.3>")
    seen = []

    def forward(self, input):
        name = getattr(self, "network_layer_name", None)
        if name in ("transformer_text_model_encoder_layers_0_self_attn_q_proj", "diffusion_model_time_embed_0"):
            seen.append(name)
            for net in networks.loaded_networks:
                net.te_multiplier, net.unet_multiplier = 0.7, 0.3
        return networks.network_Linear_forward(self, input)

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Linear, "forward", forward)
        result = txt2img(prompt="red apple <lora:lab-lora:1:1>")
        networks.loaded_networks.clear()
    assert len(set(seen)) == 2
    assert result.pixels == expected.pixels
    assert txt2img(prompt="red apple <lora:lab-lora:0.7:0.3>").pixels == expected.pixels


def at_each_step(monkeypatch, change):
    """Has an extension call `change` with the number of a step before the U-Net computes it."""
    callbacks = script_callbacks.callback_map["callbacks_cfg_denoiser"]
    monkeypatch.setitem(script_callbacks.callback_map, "callbacks_cfg_denoiser", list(callbacks))
    script_callbacks.on_cfg_denoiser(lambda params: change(params.sampling_step), name="test")


def test_networks_that_an_extension_takes_out_and_puts_in_again_count(txt2img, networks, monkeypatch, untouched):
    def change_strength(step):
        networks.loaded_networks[0].unet_multiplier = 0.0 if step == 1 else 1.0

    def change_list(step):
        if step == 1:
            kept.extend(networks.loaded_networks)
            networks.loaded_networks.clear()
        if step == 2:
            networks.loaded_networks.extend(kept)

    kept = []
    with monkeypatch.context() as patches:
        at_each_step(patches, change_strength)
        expected = txt2img(prompt="red apple <lora:lab-lora:1>", steps=4)
    at_each_step(monkeypatch, change_list)
    assert txt2img(prompt="red apple <lora:lab-lora:1>", steps=4).pixels == expected.pixels


def test_a_network_that_an_extension_adds_to_a_job_without_any_counts(txt2img, networks, monkeypatch, untouched):
    def add(step):
        if not networks.loaded_networks:
            net = networks.load_network("lab-lora", networks.available_networks["lab-lora"])
            networks.loaded_networks.append(net)

    plain = txt2img(steps=2)
    expected = txt2img(prompt="red apple <lora:lab-lora:0:1>", steps=2)
    with monkeypatch.context() as patches:
        at_each_step(patches, add)
        assert txt2img(steps=2).pixels == expected.pixels
    assert txt2img(steps=2).pixels == plain.pixels


def test_layers_have_the_names_of_v1_10_1(networks, model):
    mapping = model.network_layer_mapping
    layer = mapping["diffusion_model_middle_block_1_transformer_blocks_0_attn2_to_k"]
    assert layer is model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn2.to_k
    assert layer.network_layer_name == "diffusion_model_middle_block_1_transformer_blocks_0_attn2_to_k"
    assert mapping["transformer_text_model_encoder_layers_0_mlp_fc1"].out_features > 0
    attention = mapping["diffusion_model_middle_block_1_transformer_blocks_0_attn1"]
    assert attention is model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn1
    assert attention.network_layer_name == "diffusion_model_middle_block_1_transformer_blocks_0_attn1"
    assert "CrossAttention" in type(attention).__name__


def test_modules_of_a_network_are_as_extensions_know_them(txt2img, networks):
    txt2img(prompt="red apple <lora:lab-second:0.5:0.7>", steps=1)
    (net,) = networks.loaded_networks
    layer = "diffusion_model_input_blocks_1_1_transformer_blocks_0_attn2_to_v"
    module = net.modules[layer]
    assert net.modules[layer] is module, "made anew for each of the layers that an extension asks for"
    assert module.network_key == "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v"
    assert type(module).__name__ == "NetworkModuleLora"
    assert (module.multiplier(), module.dim, module.sd_key) == (0.7, 4, layer)
    weight = module.sd_module.weight
    updown, bias = module.calc_updown(weight)
    x = torch.ones(1, weight.shape[1])
    assert bias is None and updown.shape == weight.shape
    assert torch.allclose(module.forward(x, torch.zeros(1, weight.shape[0])), x @ updown.T, atol=1e-5)
    factors = module.up_model(module.down_model(x)) * module.multiplier() * module.calc_scale()
    assert torch.allclose(factors, x @ updown.T, atol=1e-5)


def test_routes(client, networks):
    rows = {row["name"]: row for row in client.get("/sdapi/v1/loras").json()}
    row = rows["lab-lora"]
    assert list(row) == ["name", "alias", "path", "metadata"]
    assert row["alias"] == "lab-lora-alias" and row["path"].endswith("lab-lora.safetensors")
    assert row["metadata"]["ss_tag_frequency"] == {"1_x": {"red": 3, "apple": 2}}
    assert client.post("/sdapi/v1/refresh-loras").json() is None


def test_routes_ask_for_the_login(client, monkeypatch):
    monkeypatch.setattr(shared.cmd_opts, "api_auth", "ann:one")
    app = FastAPI()
    script_callbacks.app_started_callback(None, app)
    with TestClient(app) as other:
        assert other.get("/sdapi/v1/loras").status_code == 401
        assert other.post("/sdapi/v1/refresh-loras").status_code == 401
        assert other.get("/sdapi/v1/loras", auth=("ann", "one")).status_code == 200


def pasted(text, **params):
    params = {"Prompt": text} | params
    script_callbacks.infotext_pasted_callback(text, params)
    return params["Prompt"]


def test_pasted_names_become_those_of_the_files_here(networks, txt2img):
    txt2img(prompt=ONE)
    hashes = {"Lora hashes": "theirs: be6b1d937fa0, other: 123456789abc"}
    assert pasted("a <lora:theirs:0.5> <lora:other:1>", **hashes) == "a <lora:lab-lora-alias:0.5> <lora:other:1>"
    assert pasted("a <lora:theirs:0.5>") == "a <lora:theirs:0.5>"


def test_pasted_fields_of_additional_networks_become_tags():
    fields = {
        "AddNet Module 1": "LoRA",
        "AddNet Model 1": "shine(123456789abc)",
        "AddNet Weight A 1": "0.4",
        "AddNet Module 2": "ControlNet",
        "AddNet Model 2": "wood",
    }
    assert pasted("a", **fields) == "a\n<lora:shine:0.4>"


def test_alias_is_a_second_name(networks):
    network = extra_networks.find_extra_network("lora")
    assert extra_networks.find_extra_network("lyco") is network is networks.extra_network_lora


def test_both_text_encoders_and_unet_of_sdxl(txt2img, files):
    checkpoint = files.parent / "Stable-diffusion" / "tiny-xl.safetensors"
    tiny_checkpoints.write("sdxl", checkpoint)
    sd_models.list_models()
    xl = {"override_settings": {"sd_model_checkpoint": "tiny-xl"}}
    plain = txt2img(**xl)
    model = shared.sd_model
    before = bytes_of(model)
    for part in ("diffusion_model_middle_block", "0_transformer", "1_model_transformer"):
        tensors = {}
        for name, layer in model.layer_names.by_sd_key.items():
            shape = layer.weight.stored.shape
            if name.startswith(part) and len(shape) == 2:
                generator = torch.Generator().manual_seed(len(tensors))
                tensors[f"{name}.lora_up.weight"] = torch.randn(shape[0], 2, generator=generator) * 0.3
                tensors[f"{name}.lora_down.weight"] = torch.randn(2, shape[1], generator=generator) * 0.3
        save_file(tensors, files / "for-xl.safetensors")
        first = txt2img(prompt="red apple<lora:for-xl:1>", **xl)
        assert "comments" not in first.info
        assert first.pixels != plain.pixels
        assert txt2img(**xl).pixels == plain.pixels
        assert txt2img(prompt="red apple<lora:for-xl:1>", **xl).pixels == first.pixels
        assert bytes_of(model) == before
    (files / "for-xl.safetensors").unlink()
    checkpoint.unlink()
    sd_models.list_models()
