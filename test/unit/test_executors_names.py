"""What --devices says."""

import pytest

from modules.errors import InvalidInput
from modules.executors import names
from modules.executors.names import Device


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all", ["cuda:0", "cuda:1", "cuda:2"]),
        ("0,2", ["cuda:0", "cuda:2"]),
        ("cpu*2", ["cpu", "cpu"]),
        ("1, CPU", ["cuda:1", "cpu"]),
        ("0*2,all", ["cuda:0", "cuda:0", "cuda:0", "cuda:1", "cuda:2"]),
    ],
)
def test_devices_are_named_in_order(text, found):
    assert [str(device) for device in names.parse(text, lambda: 3)] == found


def test_all_is_the_cpu_where_there_is_nothing_else():
    assert names.parse("all", lambda: 0) == [Device()]


@pytest.mark.parametrize("text", ["", "gpu", "0;1", "cpu*0", "cpu*1000", "0,,1", "cpu*x", "-1"])
def test_other_text_is_refused_with_what_to_give(text):
    with pytest.raises(InvalidInput, match="--devices"):
        names.parse(text, lambda: 1)


def test_workers_of_the_cpu_share_its_cores():
    one, many = [Device()], [Device()] * 200
    assert names.threads_each(many) == 1 <= names.threads_each(one)
    assert names.threads_each([Device(0), *one]) == names.threads_each(one)


def test_a_device_is_chosen_by_flags_that_every_program_has():
    from modules.cmd_args import create_parser

    assert create_parser().parse_args(["--use-cpu", "sd", *Device().flags()]).use_cpu == ["all"]
    assert create_parser().parse_args(Device(3).flags()).device_id == "3"
