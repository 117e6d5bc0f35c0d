"""RMS norm in Llama's and in Gemma's form, against the library's."""

from __future__ import annotations

import pytest
import torch

from sensorium.nn.norm import RmsNorm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", ["llama", "gemma"])
def test_equals_the_librarys(form: str, dtype: torch.dtype) -> None:
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    torch.manual_seed(0)
    theirs = (LlamaRMSNorm if form == "llama" else Gemma3RMSNorm)(24, eps=1e-3)
    ours = RmsNorm(24, 1e-3, 0.0 if form == "llama" else 1.0)
    assert ours.weight.equal(theirs.weight), "they start alike"
    theirs.weight.data.add_(torch.randn(24))
    ours.load_state_dict(theirs.state_dict())
    x_BLD = (torch.randn(2, 3, 24) * 5 + 1).to(dtype)
    out_BLD = ours.to(dtype)(x_BLD)
    assert out_BLD.dtype == dtype
    expected_BLD = theirs.to(dtype)(x_BLD)
    exact_BLD = theirs.float()(x_BLD.float())
    bound = 1e-6 if dtype == torch.float32 else 2**-7  # bf16: two roundings of at most 2**-8 each
    assert ((out_BLD - exact_BLD).abs() <= bound * exact_BLD.abs() + 1e-6).all()
    assert ((expected_BLD - exact_BLD).abs() <= 2 * bound * exact_BLD.abs() + 1e-6).all()
