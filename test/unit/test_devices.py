"""Choice of device and precision, and what follows from it. Other devices are imitated, so that this runs anywhere."""

import contextlib
import sys
import threading

import psutil
import pytest
import torch

from modules import devices
from modules.errors import InvalidInput
from modules.shared_cmd_options import cmd_opts

HALF, WIDE, FULL = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("device", "flags", "expected"),
    [
        ("cuda", {}, (HALF, HALF, HALF)),
        ("cuda", {"no_half": True}, (FULL, FULL, FULL)),
        ("cuda", {"no_half_vae": True}, (HALF, FULL, HALF)),
        ("cuda", {"precision": "full"}, (HALF, HALF, FULL)),
        ("cuda", {"precision": "half"}, (HALF, HALF, HALF)),
        ("mps", {}, (HALF, HALF, HALF)),
        ("cpu", {}, (FULL, FULL, FULL)),
        ("cpu", {"precision": "half"}, (HALF, HALF, HALF)),
        ("cuda", {"bf16": True}, (WIDE, WIDE, WIDE)),
        ("cuda", {"bf16": True, "no_half_vae": True}, (WIDE, FULL, WIDE)),
        ("cuda", {"bf16": True, "precision": "full"}, (WIDE, WIDE, FULL)),
        ("cpu", {"bf16": True, "precision": "half"}, (WIDE, WIDE, WIDE)),
        ("cpu", {"bf16": True}, (WIDE, WIDE, WIDE)),
    ],
)
def test_precision(device, flags, expected):
    chosen = devices.choose_precision(
        device, **{"precision": "autocast", "no_half": False, "no_half_vae": False} | flags
    )
    assert (chosen.dtype, chosen.dtype_vae, chosen.dtype_inference) == expected


@pytest.mark.parametrize("flag", ["no_half", "no_half_vae"])
def test_half_precision_contradicts_flags_against_it(flag):
    flags = {"no_half": False, "no_half_vae": False, flag: True}
    with pytest.raises(InvalidInput, match="--" + flag.replace("_", "-")):
        devices.choose_precision("cuda", precision="half", **flags)


def test_bfloat16_contradicts_float32():
    with pytest.raises(InvalidInput, match="--bf16 and --no-half"):
        devices.choose_precision("cuda", precision="autocast", no_half=True, no_half_vae=False, bf16=True)


def test_the_tests_run_in_float32_on_the_cpu():
    assert devices.device == devices.cpu
    assert (devices.dtype, devices.dtype_vae, devices.dtype_unet, devices.dtype_inference) == (FULL,) * 4


class TestChoice:
    @pytest.fixture
    def present(self, monkeypatch):
        def set_present(cuda=False, mps=False, xpu=False):
            monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
            monkeypatch.setattr(torch.xpu, "is_available", lambda: xpu)

        return set_present

    @pytest.mark.parametrize(
        ("there", "name"),
        [
            ({"cuda": True, "mps": True}, "cuda"),
            ({"mps": True, "xpu": True}, "mps"),
            ({"xpu": True}, "xpu"),
            ({}, "cpu"),
        ],
    )
    def test_the_fastest_device(self, present, there, name):
        present(**there)
        assert devices.get_optimal_device_name() == name
        assert devices.get_optimal_device() == torch.device(name)

    def test_a_device_can_be_numbered(self, present, monkeypatch):
        present(cuda=True)
        monkeypatch.setattr(cmd_opts, "device_id", "1")
        assert devices.get_optimal_device() == torch.device("cuda:1")
        assert devices.get_cuda_device_id() == 1

    def test_tasks_can_be_sent_to_the_cpu(self, present, monkeypatch):
        present(mps=True)
        monkeypatch.setattr(cmd_opts, "use_cpu", ["interrogate"])
        assert devices.get_device_for("interrogate") == devices.cpu
        assert devices.get_device_for("sd") == torch.device("mps")
        monkeypatch.setattr(cmd_opts, "use_cpu", ["all"])
        assert devices.get_device_for("sd") == devices.cpu


class TestCuda:
    @pytest.fixture
    def card(self, monkeypatch):
        """Imitates a CUDA card."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        kept = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

        def set_card(name, capability):
            monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
            monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)

        yield set_card
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = kept

    @pytest.mark.parametrize(
        ("name", "capability", "affected"),
        [
            ("NVIDIA GeForce GTX 1660", (7, 5), True),
            ("NVIDIA GeForce RTX 2080", (7, 5), False),
            ("NVIDIA GeForce GTX 1660", (8, 0), False),
        ],
    )
    def test_tf32_and_the_work_around_for_gtx_16(self, card, name, capability, affected):
        card(name, capability)
        assert devices.cuda_no_autocast() is affected
        devices.enable_tf32()
        assert torch.backends.cuda.matmul.allow_tf32
        assert torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.benchmark is affected

    def test_collecting_garbage_empties_every_cache(self, monkeypatch):
        emptied = []
        for name, module in (("cuda", torch.cuda), ("mps", torch.mps), ("xpu", torch.xpu)):
            monkeypatch.setattr(module, "empty_cache", lambda name=name: emptied.append(name))
        monkeypatch.setattr(torch.cuda, "ipc_collect", lambda: emptied.append("ipc"))
        monkeypatch.setattr(torch.cuda, "device", lambda name: contextlib.nullcontext())
        devices.torch_gc()
        assert emptied == []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
        devices.torch_gc()
        assert emptied == ["cuda", "ipc", "mps", "xpu"]


class TestCasts:
    def test_upcast_sampling_casts_around_the_unet(self, monkeypatch):
        x = torch.ones(1)
        assert devices.cond_cast_unet(x) is x
        assert devices.cond_cast_float(x) is x
        monkeypatch.setattr(devices, "unet_needs_upcast", True)
        monkeypatch.setattr(devices, "dtype_unet", HALF)
        assert devices.cond_cast_unet(x).dtype == HALF
        assert devices.cond_cast_float(devices.cond_cast_unet(x)).dtype == FULL

    def test_autocast_runs_half_layers_on_float_input(self, monkeypatch):
        layer = torch.nn.Linear(2, 2).to(torch.bfloat16)
        monkeypatch.setattr(devices, "dtype", torch.bfloat16)
        monkeypatch.setattr(devices, "dtype_inference", torch.bfloat16)
        with devices.autocast():
            assert layer(torch.ones(1, 2)).dtype == torch.bfloat16
            with devices.without_autocast(), pytest.raises(RuntimeError):
                layer(torch.ones(1, 2))
            with devices.without_autocast(disable=True):
                assert layer(torch.ones(1, 2)).dtype == torch.bfloat16

    @pytest.mark.parametrize("change", [{"dtype_inference": FULL}, {"dtype": FULL}, {"force_fp16": True}])
    def test_autocast_does_nothing_where_it_is_not_needed(self, monkeypatch, change):
        for name, value in ({"dtype": HALF, "dtype_inference": HALF} | change).items():
            monkeypatch.setattr(devices, name, value)
        assert isinstance(devices.autocast(), contextlib.nullcontext)
        assert isinstance(devices.without_autocast(), contextlib.nullcontext)

    def test_autocast_can_be_disabled(self, monkeypatch):
        monkeypatch.setattr(devices, "dtype", HALF)
        monkeypatch.setattr(devices, "dtype_inference", HALF)
        assert isinstance(devices.autocast(disable=True), contextlib.nullcontext)


class TestNans:
    def test_the_first_element_counts(self):
        x = torch.zeros(1, 4, 2, 2)
        x[0, 0, 0, 1] = float("nan")
        devices.test_for_nans(x, "unet")
        x[0, 0, 0, 0] = float("nan")
        with pytest.raises(devices.NansException, match="U-Net"):
            devices.test_for_nans(x, "unet")

    @pytest.mark.parametrize(
        ("where", "flag"), [("unet", "--no-half:"), ("vae", "--no-half-vae"), ("elsewhere", "--no-half")]
    )
    def test_advice_is_given_for_half_precision(self, where, flag):
        nan = torch.full((1, 2), float("nan"), dtype=HALF)
        with pytest.raises(devices.NansException) as caught:
            devices.test_for_nans(nan, where)
        assert ("float16 has" in str(caught.value)) == (where != "elsewhere")
        assert "--disable-nan-check" in str(caught.value)
        with pytest.raises(devices.NansException) as caught:
            devices.test_for_nans(nan.float(), where)
        assert "--no-half" not in str(caught.value)

    def test_the_check_can_be_turned_off(self, monkeypatch):
        monkeypatch.setattr(cmd_opts, "disable_nan_check", True)
        devices.test_for_nans(torch.tensor([float("nan")]), "vae")


def test_the_first_calculation_happens_once():
    devices.first_time_calculation()
    devices.first_time_calculation()
    assert devices.first_time_calculation.cache_info().misses == 1


def test_memory_that_is_kept_for_reuse_is_given_back_when_it_is_much():
    memory = devices.MainMemory()
    calls = []
    memory._trim = calls.append
    memory.least = psutil.Process().memory_info().rss
    memory.trim()  # has not grown
    assert calls == []
    memory.least = 0
    memory.trim()
    memory.trim()
    assert calls == [0]
    memory.give_back()  # weights were freed: how much the process has grown says nothing of them
    assert calls == [0, 0]
    memory.least = 2**50  # a model that has gone
    memory.trim()
    assert memory.least < 2**40


def test_nobody_waits_for_memory_to_be_given_back():
    memory = devices.MainMemory()
    threads = []
    memory._trim = lambda pad: threads.append(threading.current_thread())
    memory.trim_beside()
    for thread in threading.enumerate():
        if thread.name == "give memory back":
            thread.join()
    assert len(threads) == 1 and threads[0] is not threading.current_thread()
    memory.least = 2**50
    memory.trim_beside()
    assert len(threads) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has it")
def test_small_pieces_that_were_freed_go_back():
    pieces = [torch.zeros(2**12) for _ in range(2**13)]  # 128 MiB in pieces of 16 KiB
    process = psutil.Process()
    last = pieces.pop()
    before = process.memory_info().rss
    del pieces
    devices.MainMemory().give_back()
    assert before - process.memory_info().rss > 2**26
    assert last.sum() == 0


def test_free_memory_of_a_card_is_what_the_system_has_and_what_torch_keeps(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda on: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda on: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda on: 100)
    assert devices.free_memory(torch.device("cuda")) == 1200
    assert devices.free_memory(torch.device("mps")) == float("inf")
    assert 0 < devices.free_memory(devices.cpu) <= psutil.virtual_memory().total
