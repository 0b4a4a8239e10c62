import pytest
import torch

from headstart.transfer import device


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device decides by itself")
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param("flags\t\t: fpu avx2 avx512_bf16 sse", "bfloat16", id="AVX-512 with bfloat16"),
        pytest.param("flags\t\t: fpu amx_bf16 amx_tile", "bfloat16", id="AMX"),
        pytest.param("Features\t: fp asimd bf16", "bfloat16", id="Arm"),
        pytest.param("flags\t\t: fpu avx2 avx512f", "float32", id="none of them"),
        pytest.param("model name\t: made for bf16", "float32", id="the word elsewhere"),
    ],
)
def test_auto_is_bfloat16_only_where_the_processor_has_it(tmp_path, flags, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{flags}\n")
    assert device.precision("auto", flags=path) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device decides by itself")
def test_a_machine_that_does_not_tell_its_flags_gets_float32(tmp_path):
    assert device.precision("auto", flags=tmp_path / "absent") == "float32"


@pytest.mark.parametrize("asked", ["float32", "bfloat16"])
def test_what_is_asked_for_is_taken(tmp_path, asked):
    assert device.precision(asked, flags=tmp_path / "absent") == asked


def test_settling_repeats_torch_draws_and_takes_the_threads_allowed(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    draws = []
    for _ in range(2):
        device.settle(11)
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(False)
