"""Which precision suits the hardware."""

import pytest
import torch

from fast_style.system.devices import torch_computes_bfloat16


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"bf16": True}, True), ({"avx2": True}, False)],
)
def test_a_processor_computes_in_bfloat16_if_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], native: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert torch_computes_bfloat16("cpu") is native


def test_where_torch_does_not_tell_it_is_taken_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not torch_computes_bfloat16("cpu")


@pytest.mark.parametrize("native", [True, False])
def test_a_gpu_that_only_emulates_it_does_not(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert torch_computes_bfloat16("cuda") is torch_computes_bfloat16("auto") is native
