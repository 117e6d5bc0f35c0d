"""Names the first operation that made a NaN or an infinity: the batch runs again, every operation watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from sensorium.training.feed import Thunk

_MASKS = ("fill", "full", "where", "empty", "scalar_tensor", "lift_fresh", "detach", "view", "clone", "copy")
"""Operations that write an infinity because they were told to, or only pass on."""


def accuse(modules: Sequence[nn.Module], thunks: Sequence[Thunk]) -> str:
    """Run a batch again, forward and backward, and say what went wrong first.

    Args:
        modules: whose paths name the place; the first is the model. thunks: the losses of the batch's parts.
    """
    for module in modules:
        for name, parameter in module.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                return f"parameter {name} was not finite before the step"
    here: list[str] = []
    watch = _Watch(here)
    handles = [handle for module in modules for handle in _hooked(module, here, watch)]
    try:
        with torch.enable_grad(), watch:
            for thunk in thunks:
                here.clear()
                watch.backward = False
                total = thunk().total
                watch.backward = True
                if watch.first is None and total.requires_grad:
                    total.backward()  # type: ignore[no-untyped-call]
                if watch.first is not None:
                    break
    finally:
        for handle in handles:
            handle.remove()
    if watch.first is None:
        return "run again, the batch is finite: only its sum over the parts is too large"
    return f"the first bad operation is {watch.first}"


class _Watch(TorchDispatchMode):
    """Looks at what every operation makes."""

    def __init__(self, here: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.here, self.backward = here, False
        self.first: str | None = None

    def __torch_dispatch__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = str(func).removeprefix("aten.")
        if self.first is None and not any(mask in name for mask in _MASKS):
            wrong = _wrong(made)
            if wrong and not _wrong((args, kwargs)):
                way = "backward" if self.backward else "forward"
                place = self.here[-1] if self.here else "the objective"
                self.first = f"{name.removesuffix('.default')} in {place} ({way}), which made {wrong} of finite numbers"
        return made


def _wrong(values: Any) -> str:
    """`NaN` or `Inf` if any tensor holds one."""
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if any(bool(torch.isnan(tensor).any()) for tensor in tensors):
        return "NaN"
    return "Inf" if any(bool(torch.isinf(tensor).any()) for tensor in tensors) else ""


def _hooked(module: nn.Module, here: list[str], watch: _Watch) -> Iterable[RemovableHandle]:
    """Hooks that keep the path of the module at work on top of `here`."""

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: here.append(name)

    def leave(*_: Any) -> None:
        if here:
            here.pop()

    def reach(name: str) -> Callable[..., None]:
        def at(*_: Any) -> None:
            if watch.backward:
                here[:] = [name]

        return at

    for name, child in module.named_modules():
        if name:
            yield child.register_forward_pre_hook(enter(name))
            yield child.register_forward_hook(leave, always_call=True)
            yield child.register_full_backward_pre_hook(reach(name))
