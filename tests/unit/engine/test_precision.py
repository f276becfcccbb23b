"""Which half precision a device is fast in, and sums in it."""

import itertools
from collections.abc import Iterator

import pytest
import torch

from reprogram.engine import precision
from reprogram.engine.precision import batch_sum, fast_dtypes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """What the processor can do is asked once in a process."""
    precision._multiplies_bfloat16.cache_clear()
    yield
    precision._multiplies_bfloat16.cache_clear()


@pytest.mark.parametrize(("tiles", "vectors", "amd", "kernels"), list(itertools.product([True, False], repeat=4)))
def test_a_processor_is_fast_in_bfloat16_by_tiles_or_by_the_vectors_of_amd(
    tiles: bool, vectors: bool, amd: bool, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors, raising=False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: kernels, raising=False)
    monkeypatch.setattr(precision, "is_amd", lambda: amd)
    fast = kernels and (tiles or (vectors and amd))
    assert fast_dtypes(CPU) == ((torch.bfloat16,) if fast else ())


def test_a_processor_of_which_pytorch_says_nothing_is_fast_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert fast_dtypes(CPU) == ()


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), ()), ((8, 0), (torch.bfloat16,)), ((9, 0), (torch.bfloat16,))]
)
def test_a_gpu_is_fast_in_bfloat16_from_ampere_on(
    capability: tuple[int, int], expected: tuple[torch.dtype, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert fast_dtypes(torch.device("cuda")) == expected


def test_nothing_is_known_of_other_devices() -> None:
    assert fast_dtypes(torch.device("meta")) == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64], ids=str)
def test_a_sum_over_the_batch_is_rounded_once(dtype: torch.dtype) -> None:
    """In bfloat16 itself a sum of ones never passes 256."""
    ones = torch.ones(1000, 3, 2, 2, dtype=dtype)
    assert torch.equal(batch_sum(ones), torch.full((1, 3, 2, 2), 1000.0, dtype=dtype))
    maps = torch.randn(37, 5, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    for part in (maps, maps.contiguous(memory_format=torch.channels_last), maps[..., 2:5, 1:], maps[:1]):
        found, wanted = batch_sum(part), part.double().sum(0, keepdim=True)
        assert found.dtype == dtype and found.shape == wanted.shape
        torch.testing.assert_close(found.double(), wanted, rtol=torch.finfo(dtype).eps, atol=1e-5)
