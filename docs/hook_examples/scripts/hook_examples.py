"""An example for every hook: hooks.md shows each below the table. Enabled as an extension, all of them are called."""

import gradio as gr
from PIL import ImageOps

from modules import script_callbacks, scripts, sd_unet, shared
from modules.sd_hijack_optimizations import SdOptimization


def on_app_started(demo, app):
    app.add_api_route("/examples/ping", lambda: "pong", methods=["GET"])


def on_before_reload():
    print("the page is about to be built anew")


def on_model_loaded(sd_model):
    print(sd_model.sd_checkpoint_info.title, "SDXL" if sd_model.is_sdxl else "")


def on_ui_tabs():
    with gr.Blocks(analytics_enabled=False) as tab:
        gr.Button("Greet", elem_id="examples_greet").click(lambda: print("hello"))
    return [(tab, "Examples", "examples")]


def on_ui_train_tabs(params):
    with gr.Tab("Examples"):
        gr.Markdown("A tab inside Train")


def on_ui_settings():
    info = shared.OptionInfo(0.0, "Noise", gr.Slider, {"minimum": 0, "maximum": 1}, section=("examples", "Examples"))
    shared.opts.add_option("examples_noise", info)


def on_before_image_saved(params):
    params.pnginfo["author"] = "me"


def on_image_saved(params):
    print(params.filename)


def on_extra_noise(params):
    params.noise *= 1.0 + shared.opts.examples_noise


def on_cfg_denoiser(params):
    params.x *= 1.0 + shared.opts.examples_noise * params.sampling_step / params.total_sampling_steps


def on_cfg_denoised(params):
    params.x.clamp_(-10, 10)


def on_cfg_after_cfg(params):
    params.x = params.x.clamp(-10, 10)


def on_before_component(component, **kwargs):
    if kwargs.get("elem_id") == "txt2img_seed":
        gr.Markdown("Seed of the first image:")


def on_after_component(component, **kwargs):
    if kwargs.get("elem_id") == "txt2img_steps":
        component.change(lambda steps: print(steps), inputs=component)


def on_image_grid(params):
    params.imgs[:] = [ImageOps.expand(image, border=2, fill="white") for image in params.imgs]


def on_infotext_pasted(infotext, params):
    if "Example strength" not in params and "Old strength" in params:
        params["Example strength"] = params.pop("Old strength")


def on_script_unloaded():
    print("put back what was replaced")


def on_before_ui():
    shared.list_checkpoint_tiles()


def on_list_optimizers(res):
    optimization = SdOptimization()
    optimization.name = "example"
    optimization.is_available = lambda: False
    res.append(optimization)


def on_list_unets(res):
    class Example(sd_unet.SdUnetOption):
        label, model_name = "Example", "none"

    res.append(Example())


def on_before_token_counter(params):
    params.prompt = params.prompt.replace("__colour__", "red")


for registrar, callback in list(globals().items()):
    if registrar.startswith("on_"):
        getattr(script_callbacks, registrar)(callback)


class Examples(scripts.Script):
    def title(self):
        return "Examples"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Slider(0.0, 1.0, value=0.0, label="Example strength", elem_id=self.elem_id("strength"))]

    def setup(self, p, strength):
        p.setup_seen = True

    def before_process(self, p, strength):
        p.override_settings["samples_format"] = "png"

    def process(self, p, strength):
        if strength:
            p.extra_generation_params["Example strength"] = strength

    def before_process_batch(self, p, strength, batch_number, prompts, seeds, subseeds):
        p.prompts = [f"{prompt}, batch {batch_number}" if strength else prompt for prompt in prompts]

    def after_extra_networks_activate(self, p, strength, batch_number, prompts, seeds, subseeds, extra_network_data):
        print([params.items for params in extra_network_data.get("lora", [])])

    def process_batch(self, p, strength, batch_number, prompts, seeds, subseeds):
        print(batch_number, prompts, seeds)

    def process_before_every_sampling(self, p, strength, x, noise, c, uc):
        x *= 1.0 + strength

    def before_hr(self, p, strength):
        p.denoising_strength = min(1.0, p.denoising_strength + strength)

    def on_mask_blend(self, p, mba, strength):
        if strength and not mba.is_final_blend:
            mba.blended_latent = mba.current_latent * mba.nmask + mba.init_latent * mba.mask

    def post_sample(self, p, ps, strength):
        for sample in ps.samples:  # after a hires pass with an upscaler of images these are pixels, in a list
            sample *= 1.0 - strength

    def postprocess_batch(self, p, strength, images, batch_number):
        images.clamp_(0, 1 - strength)

    def postprocess_batch_list(self, p, pp, strength, batch_number):
        pp.images[:] = [image.flip(-1) if strength else image for image in pp.images]

    def postprocess_image(self, p, pp, strength):
        if strength:
            pp.image = ImageOps.solarize(pp.image, round(255 * (1 - strength)))

    def postprocess_maskoverlay(self, p, ppmo, strength):
        if strength and ppmo.mask_for_overlay is not None:
            ppmo.mask_for_overlay = ImageOps.invert(ppmo.mask_for_overlay)

    def postprocess_image_after_composite(self, p, pp, strength):
        if strength:
            pp.image = ImageOps.expand(pp.image, border=2)

    def postprocess(self, p, processed, strength):
        processed.comments += f"{len(processed.images)} images\n"

    def before_component(self, component, **kwargs):
        if kwargs.get("elem_id") == f"{self.tabname}_cfg_scale":
            gr.Markdown("CFG scale follows")

    def after_component(self, component, **kwargs):
        if kwargs.get("elem_id") == f"{self.tabname}_prompt":
            self.prompt = component
