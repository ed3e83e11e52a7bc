"""Reading files of weights."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from modules import weights
from modules.errors import ModelLoadError


def test_safetensors_and_their_metadata(tmp_path):
    path = str(tmp_path / "a.safetensors")
    save_file({"x": torch.ones(2)}, path, {"name": "a", "recipe": '{"b": 1}', "odd": "{no json"})
    assert weights.read_state_dict(path)["x"].tolist() == [1, 1]
    metadata = weights.read_metadata_from_safetensors(path)
    assert metadata == {"name": "a", "recipe": {"b": 1}, "odd": "{no json"}


def write_header(path, header):
    """Writes a file of this header alone."""
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    return str(path)


def test_metadata_are_found_wherever_they_stand_in_the_header(tmp_path):
    weight = '"x": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}'
    metadata = '"__metadata__": {"name": "ä", "odd": 1}'
    for number, header in enumerate([f"{{ {metadata}, {weight}}}", f"{{{weight}, {metadata}}}"]):
        path = write_header(tmp_path / f"{number}.safetensors", header.encode())
        assert weights.read_plain_metadata(path) == {"name": "ä"}


@pytest.mark.parametrize("metadata", [b"[1]", b"[" * 100_000, b'"text"', b"\xff"])
def test_metadata_that_are_none(tmp_path, metadata):
    path = write_header(tmp_path / "a.safetensors", b'{"__metadata__": ' + metadata + b"}")
    with pytest.raises(ModelLoadError, match="damaged"):
        weights.read_plain_metadata(path)


def test_half_a_pair_of_surrogates_becomes_a_question_mark():
    assert weights.decoded(r'{"a\udfff": ["\ud83c\udf4e", "\ud800"]}') == {"a?": ["🍎", "?"]}


def test_a_value_that_is_too_deep_stays_text():
    assert weights.decoded('{"a": ' * 100_000) == '{"a": ' * 100_000


def test_file_without_metadata(tmp_path):
    path = str(tmp_path / "a.safetensors")
    save_file({"x": torch.ones(2)}, path)
    assert weights.read_metadata_from_safetensors(path) == {}


@pytest.mark.parametrize(
    "content", [b"", b"no", struct.pack("<Q", 8) + b"{broken}", struct.pack("<Q", 2**60) + b"{}", b"<html></html>" * 4]
)
def test_other_files_are_no_safetensors(tmp_path, content):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (weights.read_metadata_from_safetensors, weights.read_state_dict):
        with pytest.raises(ModelLoadError, match=r"a\.safetensors is not a safetensors file"):
            read(str(path))


def test_cut_off_file_is_damaged(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelLoadError, match="damaged"):
        weights.read_state_dict(str(path))


def test_missing_file(tmp_path):
    for name in ("gone.safetensors", "gone.ckpt"):
        with pytest.raises(ModelLoadError, match="not there"):
            weights.read_state_dict(str(tmp_path / name))


def test_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(ModelLoadError, match="is a folder; it takes a file here"):
        weights.read_state_dict(str(tmp_path))


@pytest.mark.parametrize("zipped", [True, False])
def test_ckpt_with_its_weights_inside(tmp_path, zipped):
    path = str(tmp_path / "a.ckpt")
    content = {"epoch": 1, "state_dict": {"state_dict": {"x": torch.ones(2), "step": 5}}}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert {key: tensor.tolist() for key, tensor in weights.read_state_dict(path).items()} == {"x": [1, 1]}


class Attack:
    def __reduce__(self):
        return (json.loads, ("{}",))


def test_ckpt_that_could_run_code_is_refused(tmp_path):
    path = str(tmp_path / "a.ckpt")
    torch.save({"state_dict": {"x": torch.ones(1)}, "hook": Attack()}, path)
    with pytest.raises(ModelLoadError, match=r"a\.ckpt.*json"):
        weights.read_state_dict(path)


def test_ckpt_without_a_dictionary_holds_no_weights(tmp_path):
    path = str(tmp_path / "a.ckpt")
    torch.save([1, 2], path)
    with pytest.raises(ModelLoadError, match="holds a list"):
        weights.read_state_dict(path)


def test_prefixes_are_replaced_once_at_the_front():
    replaced = weights.replace_prefixes({"a.b.a.": torch.zeros(1), "c": torch.zeros(1)}, {"a.": "x.", "x.": "y."})
    assert list(replaced) == ["x.b.a.", "c"]


def test_what_is_read_once_has_the_tensors_of_the_file_in_every_type(tmp_path):
    path = tmp_path / "types.safetensors"
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in weights.DTYPES.values()}
    tensors |= {"marker": torch.zeros(0), "number": torch.tensor(3.5), "odd": torch.tensor([True, False, True])}
    save_file(tensors, path)
    read = weights.read_once(str(path))
    assert read.keys() == tensors.keys()
    for _ in range(2):
        for key, tensor in tensors.items():
            found = read[key]
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(found.reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))
        weights.release(str(path))  # what is used again is read again


def test_numbers_that_do_not_lie_on_their_own_boundaries_are_read(tmp_path):
    """Other programs' writers do not sort tensors by the size of their numbers."""
    path = tmp_path / "odd.safetensors"
    header = {
        "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]},
    }
    text = json.dumps(header).encode().ljust(128)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\x07" + struct.pack("<f", 1.5))
    assert weights.read_once(str(path))["b"].tolist() == [1.5]


def test_pickled_weights_have_nothing_to_give_back(tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    read = weights.read_once(str(path))
    weights.release(str(path))
    assert read["a"].tolist() == [1, 1]
