"""Images for OpenAI's own client, over a real connection."""

import base64
import io
import urllib.request

import openai
import pytest
from PIL import Image

from modules import shared


@pytest.fixture
def openai_client(running):
    """OpenAI's own client."""
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    file.seek(0)
    file.name = "image.png"
    return file


def decoded(entry):
    return Image.open(io.BytesIO(base64.b64decode(entry.b64_json)))


def test_images_are_made(openai_client):
    answer = openai_client.images.generate(model="gpt-image-1", prompt="red apple", size="64x64", n=2)
    assert [decoded(entry).size for entry in answer.data] == [(64, 64)] * 2
    assert decoded(answer.data[0]).text["parameters"].startswith("red apple\nSteps: 50")
    assert decoded(answer.data[0]).tobytes() != decoded(answer.data[1]).tobytes()


def test_what_no_text_can_hold_is_sent_back_as_a_question_mark(client):
    body = '{"prompt": "a \\ud800", "size": "64x64"}'
    answer = client.post("/v1/images/generations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200 and answer.json()["data"][0]["revised_prompt"] == "a ?"


def test_an_address_gives_the_image(openai_client):
    checkpoint = shared.opts.sd_model_checkpoint
    answer = openai_client.images.generate(model=checkpoint, prompt="red apple", size="64x64", response_format="url")
    with urllib.request.urlopen(answer.data[0].url) as found, Image.open(found) as image:
        assert image.size == (64, 64)


def test_an_image_is_edited_where_it_is_transparent(openai_client):
    source = Image.new("RGBA", (64, 64), (255, 120, 0, 255))
    source.paste((0, 0, 0, 0), (0, 0, 32, 64))
    answer = openai_client.images.edit(model="", image=png(source), prompt="blue", size="64x64")
    edited = decoded(answer.data[0]).convert("RGB")
    assert edited.getpixel((60, 32)) == (255, 120, 0) and edited.getpixel((4, 32)) != (0, 0, 0)


def test_a_mask_of_another_size_is_named(openai_client):
    image, mask = Image.new("RGB", (64, 64)), Image.new("RGBA", (32, 32))
    with pytest.raises(openai.UnprocessableEntityError, match="mask is"):
        openai_client.images.edit(model="", image=png(image), mask=png(mask), prompt="x")


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"size": "big"}, openai.UnprocessableEntityError, "size"),
        ({"size": "9" * 5000 + "x64"}, openai.UnprocessableEntityError, "size"),
        ({"size": "9999999x64"}, openai.UnprocessableEntityError, "width"),
        ({"model": "no such model"}, openai.NotFoundError, "model"),
    ],
)
def test_errors_are_those_the_client_knows(openai_client, fields, error, param):
    with pytest.raises(error) as raised:
        openai_client.images.generate(**{"prompt": "x", "model": "", "size": "64x64"} | fields)
    assert raised.value.param == param and raised.value.body["message"]
