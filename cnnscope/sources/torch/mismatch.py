"""What does not fit where a run stopped, in the terms of the layer: read from shapes, not from torch's messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from cnnscope.ops.base import shape_text
from cnnscope.sources.fitting import Mismatch

Namer = Callable[[Tensor], str]
"""Returns what a tensor is to a reader: "`0` (`Conv2d`) gives 8x22x22"."""


def mismatch(
    module: nn.Module | None, given: Sequence[Any], function: str, args: Sequence[Any], kwargs: Mapping[str, Any],
    named: Namer,
) -> Mismatch | None:  # fmt: skip
    """Returns what does not fit in the call of ``function`` (empty if torch refused before it) by ``module``."""
    rule = next((rule for names, rule in _BY_FUNCTION.items() if function in names.split()), None)
    found = rule(module, named, *args, **kwargs) if rule is not None else None
    if found is None and given and isinstance(given[0], Tensor):
        found = _refused_early(module, given[0], named)
    return found


# -- layers with weights -----------------------------------------------------------------------------------------------


def _linear(module: nn.Module | None, named: Namer, x: Tensor, weight: Tensor, *rest: Any, **_: Any) -> Mismatch | None:
    wanted, found = weight.shape[-1], x.shape[-1]
    what = f"`in_features={wanted}`" if isinstance(module, nn.Linear) else f"a weight for {wanted} features"
    return None if found == wanted else _features(what, "in_features", wanted, x, named)


def _features(what: str, argument: str, wanted: int, x: Tensor, named: Namer) -> Mismatch:
    found = x.shape[-1]
    text = f"it has {what}, but {named(x)}"
    if x.dim() > 2 and prod(x.shape[1:]) == wanted:
        shape = shape_text(tuple(x.shape[1:]))
        return Mismatch(text, "axes", f"flatten before it: `nn.Flatten()` makes {wanted} features of {shape}")
    if x.dim() == 4 and x.shape[1] == wanted:
        pooled = f"before it, `nn.AdaptiveAvgPool2d(1)` and `nn.Flatten()` leave its {wanted} features"
        return Mismatch(text, "axes", pooled)
    return Mismatch(text, "features", f"`{argument}={found}` fits this input", wanted, found)


def _conv(
    module: nn.Module | None, named: Namer, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1, **_: Any,
) -> Mismatch | None:  # fmt: skip
    found = _map_axes(x, weight.dim() - 2, weight.shape[1] * groups, named) or _channels(
        x, weight.shape[1] * groups, groups, named
    )
    return found or (None if isinstance(padding, str) else _window(x, weight.shape[2:], padding, dilation, named))


def _conv_transpose(
    module: nn.Module | None, named: Namer, x: Tensor, weight: Tensor, bias: Any = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: int = 1, *rest: Any, **_: Any,
) -> Mismatch | None:  # fmt: skip
    return _map_axes(x, weight.dim() - 2, weight.shape[0], named) or _channels(x, weight.shape[0], groups, named)


def _map_axes(x: Tensor, ndim: int, channels: int, named: Namer) -> Mismatch | None:
    if x.dim() == ndim + 2:
        return None
    order = "channels x " + " x ".join(("depth", "height", "width")[-ndim:] if ndim > 1 else ("length",))
    return Mismatch(f"it takes {order}, but {named(x)}", "axes", wanted=channels)


def _channels(x: Tensor, wanted: int, groups: int, named: Namer) -> Mismatch | None:
    found = x.shape[1]
    if found == wanted:
        return None
    shared = f" in {groups} groups" if groups > 1 else ""
    return Mismatch(f"it takes {wanted} channels{shared}, but {named(x)}", "channels", "in_channels", wanted, found)


def _norm(module: nn.Module | None, named: Namer, x: Tensor, *statistics: Any, **_: Any) -> Mismatch | None:
    wanted = next((t.numel() for t in statistics[:4] if isinstance(t, Tensor)), None)
    if wanted is None or x.dim() < 2 or x.shape[1] == wanted:
        return None
    text = f"it normalises {wanted} channels, but {named(x)}"
    return Mismatch(text, "channels", "num_features", wanted, x.shape[1])


def _group_norm(
    module: nn.Module | None, named: Namer, x: Tensor, groups: int, weight: Any = None, *rest: Any, **_: Any
) -> Mismatch | None:
    wanted = weight.numel() if isinstance(weight, Tensor) else None
    if x.dim() > 1 and wanted not in (None, x.shape[1]):
        text = f"it normalises {wanted} channels, but {named(x)}"
        return Mismatch(text, "channels", "num_channels", wanted, x.shape[1])
    if x.dim() > 1 and x.shape[1] % groups:
        return Mismatch(f"its {groups} groups do not divide the channels: {named(x)}", "shapes")
    return None


def _layer_norm(module: nn.Module | None, named: Namer, x: Tensor, shape: Sequence[int], *rest: Any, **_: Any) -> Any:
    own = tuple(shape)
    found = tuple(x.shape[x.dim() - len(own) :])
    if found == own:
        return None
    text = f"it normalises the last axes {shape_text(own)}, but {named(x)}"
    fits = f"`normalized_shape={found[0] if len(own) == 1 else list(found)}` fits this input"
    kind: Literal["features", "shapes"] = "shapes" if found[-1] == own[-1] else "features"
    return Mismatch(text, kind, fits, own[-1], found[-1])


def _embedding(module: nn.Module | None, named: Namer, weight: Any, x: Any, *rest: Any, **_: Any) -> Mismatch | None:
    floating = isinstance(x, Tensor) and x.is_floating_point()
    return (
        Mismatch(f"it takes indices (whole numbers), but {named(x)} as {str(x.dtype)[6:]}", "dtype")
        if floating
        else None
    )


# -- maps and products -------------------------------------------------------------------------------------------------


def _pool(
    module: nn.Module | None, named: Namer, x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0,
    dilation: Any = 1, *rest: Any, **_: Any,
) -> Mismatch | None:  # fmt: skip
    sides = kernel if isinstance(kernel, (list, tuple)) else (kernel,)
    dilation = 1 if isinstance(dilation, bool) else dilation  # the place of `ceil_mode` in average pools
    return _window(x, sides, padding, dilation, named)


def _window(x: Tensor, kernel: Sequence[int], padding: Any, dilation: Any, named: Namer) -> Mismatch | None:
    size = x.shape[2:]

    def each(n: Any) -> Sequence[int]:
        numbers = list(n) if isinstance(n, (list, tuple)) else [n]
        return numbers * len(size) if len(numbers) == 1 else numbers

    axes = list(zip(size, each(list(kernel)), each(padding), each(dilation), strict=False))
    if all(d * (k - 1) < n + 2 * p for n, k, p, d in axes):
        return None
    padded = f" with padding {shape_text(tuple(p for _, _, p, _ in axes))}" if any(p for _, _, p, _ in axes) else ""
    reach = shape_text(tuple(d * (k - 1) + 1 for _, k, _, d in axes))
    return Mismatch(f"its kernel of {reach} is larger than its input{padded}: {named(x)}", "size")


def _product(module: nn.Module | None, named: Namer, *args: Any, **_: Any) -> Mismatch | None:
    a, b = [t for t in args if isinstance(t, Tensor)][-2:]
    if a.dim() == 0 or b.dim() == 0 or a.shape[-1] == b.shape[-2 if b.dim() > 1 else -1]:
        return _pair("multiplies matrices of different batches", a, b, named)
    rows = b.shape[-2 if b.dim() > 1 else -1]
    return Mismatch(f"{a.shape[-1]} columns meet {rows} rows: {named(a)}, and {named(b)}", "shapes")


def _cat(module: nn.Module | None, named: Namer, parts: Sequence[Tensor], axis: int = 0, *rest: Any) -> Mismatch | None:
    first = parts[0]
    for other in parts[1:]:
        same = first.dim() == other.dim()
        if not same or any(
            m != n for i, (m, n) in enumerate(zip(first.shape, other.shape, strict=True)) if i != axis % first.dim()
        ):
            return _pair("joins maps of different sizes", first, other, named)
    return None


def _binary(module: nn.Module | None, named: Namer, a: Any, b: Any, *rest: Any, **_: Any) -> Mismatch | None:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return None
    ends = zip(a.shape[::-1], b.shape[::-1], strict=False)
    return None if all(m == n or 1 in (m, n) for m, n in ends) else _pair("combines different sizes", a, b, named)


def _pair(what: str, a: Tensor, b: Tensor, named: Namer) -> Mismatch:
    return Mismatch(f"it {what}: {named(a)}, and {named(b)}", "shapes")


# -- what torch's own Python refuses before any call -------------------------------------------------------------------


def _refused_early(module: nn.Module | None, x: Tensor, named: Namer) -> Mismatch | None:
    kind = type(module).__name__
    if isinstance(module, nn.RNNBase) and x.shape[-1] != module.input_size:
        return _features(f"`input_size={module.input_size}`", "input_size", module.input_size, x, named)
    if isinstance(module, nn.MultiheadAttention) and x.shape[-1] != module.embed_dim:
        return _features(f"`embed_dim={module.embed_dim}`", "embed_dim", module.embed_dim, x, named)
    if isinstance(module, (_BatchNorm, _InstanceNorm)) and kind[-2:] in ("1d", "2d", "3d"):
        ndim = int(kind[-2])
        if x.dim() != ndim + 2 and not (ndim == 1 and x.dim() == 2):
            return _map_axes(x, ndim, module.num_features, named)
        if x.shape[1] != module.num_features:
            return _norm(module, named, x, module.running_mean if module.running_mean is not None else module.weight)
    return None


_BY_FUNCTION: Mapping[str, Callable[..., Mismatch | None]] = {
    "linear": _linear,
    "conv1d conv2d conv3d": _conv,
    "conv_transpose1d conv_transpose2d conv_transpose3d": _conv_transpose,
    "batch_norm instance_norm": _norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "embedding": _embedding,
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices": _pool,
    "matmul mm bmm addmm mv": _product,
    "cat concat concatenate": _cat,
    "add sub mul div maximum minimum where": _binary,
}
"""The rules by names of functions, without the overload and without the underscore of in-place ones."""
