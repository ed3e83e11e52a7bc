"""A tab with events and JavaScript, a flag, a setting, and a library beside its scripts.

Its JavaScript talks to the server through hidden fields and buttons, as many do.
"""

import gradio as gr
from own_library import greeting
from PIL import Image

from modules import script_callbacks, scripts, shared
from modules.paths import extensions_dir

HERE = scripts.basedir()
WORD = shared.cmd_opts.own_word
FORMAT = shared.opts.samples_format
assert HERE.startswith(extensions_dir)


class Fancy(gr.Button):
    def __init__(self, *args, shout=False, **kwargs):
        self.shout = shout
        super().__init__(*args, variant="tool", **kwargs)

    def get_block_name(self):
        return "button"


def add_tab():
    with gr.Blocks(css="#own_tab_box {color: red}", nonsense=True) as tab:
        with gr.Box():
            box = gr.Textbox(label="Own box", elem_id="own_tab_box", show_copy_button=True).style(container=False)
            button = Fancy("Greet", shout=True, elem_id="own_tab_greet", tooltip="greets", full_width=True)
        heard = gr.Textbox(visible=False, elem_id="own_tab_heard")
        answer = gr.Textbox(visible=False, elem_id="own_tab_answer")
        ask = gr.Button(visible=False, elem_id="own_tab_ask")
        ask.click(lambda text: f"{text} {shared.opts.own_number}", inputs=[heard], outputs=[answer])
        send = gr.Button("Send to txt2img", elem_id="own_tab_send")
        send.click(None, [box], None, _js="own_tab_send")
        button.click(fn=lambda: gr.Textbox.update(value=greeting(WORD)), outputs=[box], _js="() => []", show_progress=False)
        gr.Gallery([Image.new("RGB", (64, 64), "teal")], elem_id="own_tab_gallery", show_label=False).style(columns=6)
    return [(tab, "Own tab", "own_tab")]


def add_settings():
    section = ("own_tab", "Own tab")
    shared.opts.add_option("own_number", shared.OptionInfo(3, "Number", gr.Slider, {"minimum": 1, "maximum": 9}, section=section))


script_callbacks.on_ui_tabs(add_tab)
script_callbacks.on_ui_settings(add_settings)
