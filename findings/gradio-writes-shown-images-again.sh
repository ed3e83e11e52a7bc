#!/usr/bin/env bash
# gradio 6.31.0: an image that a component shows is a file in a folder named after its content, yet each event that
# shows the same image opens that file for writing again instead of leaving it there.
#
# Two events that give the same image are enough (a picture that stays while something beside it changes; two tabs of a
# browser): the file is emptied and filled while it may be on its way to a browser, which then gets less than the
# length it was told ("Failed to load resource: net::ERR_CONTENT_LENGTH_MISMATCH"), and the server's log a traceback.
# Whoever relies on a name made of the content being written once (caches, proxies, own readers) is wrong here. Below,
# what lies in the file is replaced by a mark between two events; the second one has overwritten it.
# Seen: "one file: True, written again: True".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gradio==6.31.0

"$folder/venv/bin/python" - "$folder/cache" <<'PYTHON'
import os
import sys

os.environ["GRADIO_TEMP_DIR"] = sys.argv[1]

import gradio as gr
from PIL import Image

with gr.Blocks():
    shown = gr.Image(format="png")
picture = Image.new("RGB", (64, 64), "orange")
first = shown.postprocess(picture).path
with open(first, "wb") as file:
    file.write(b"a mark")
second = shown.postprocess(picture).path
is_one = first == second
with open(first, "rb") as file:
    is_written_again = file.read() != b"a mark"
print(f"one file: {is_one}, written again: {is_written_again}")
assert is_one and is_written_again
PYTHON
echo "as described"
