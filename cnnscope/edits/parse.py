"""The grammar of changes on the command line, and the other way round.

conv1.stride=1   layer4.[12].conv2.dilation=2   conv1.out=48   maxpool=none   relu=silu   batchnorm=groupnorm:8
after=layer1:conv{out: 64, kernel: 3, pad: half}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from cnnscope.edits.change import Change, Insert, Remove, Scale, SetArgs, Swap, Width
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ops.base import REGISTRY, Op, named

_NOTHING = ("none", "identity")


def parse(text: str) -> Change:
    """The change that a text stands for: an argument, a width, a swap, a removal or an insertion. E406 for none."""
    if text.startswith("after="):
        return parse_insert(text)
    left, equals, right = text.partition("=")
    if not equals or not left.strip() or not right.strip():
        hint = "write `conv1.stride=1`, `relu=silu`, `maxpool=none` or `after=conv1:relu`"
        raise CnnscopeError.of("E406", f"`{text}` is no change", hint=hint)
    left, right = left.strip(), right.strip()
    if "." in left and not _is_op(right):
        return parse_set(text)
    return parse_swap(text)


def _is_op(text: str) -> bool:
    word = re.split(r"[:{]", text, maxsplit=1)[0].strip()
    return word in _NOTHING or named(word) is not None


def parse_set(text: str, *, alone: bool = False) -> SetArgs | Width:
    """``conv1.stride=1``; ``conv1.out=48`` is a width. E406 for another form."""
    left, equals, right = text.partition("=")
    layers, dot, name = left.strip().rpartition(".")
    if not equals or not dot or not layers or not name or not right.strip():
        raise CnnscopeError.of("E406", f"`{text}` sets nothing", hint="write `--set conv1.stride=1`")
    value = _value(right, text)
    if name in ("out", "dim") and isinstance(value, int) and not isinstance(value, bool):
        return Width(layers, value, alone)
    return SetArgs(layers, {name: value})


def parse_width(text: str, *, alone: bool = False) -> Width:
    """``conv1=48``. E406 for another form."""
    layers, _, number = text.rpartition("=")
    if not layers.strip() or not number.strip().lstrip("+-").isdigit():
        raise CnnscopeError.of("E406", f"`{text}` is no width", hint="write `--width conv1=48`")
    return Width(layers.strip(), int(number), alone)


def parse_swap(text: str, within: str = "*") -> Swap | Remove:
    """``batchnorm=groupnorm:8``, ``maxpool=avgpool{kernel: 2}``; ``maxpool=none`` is a removal."""
    what, equals, rest = text.partition("=")
    if not equals or not what.strip() or not rest.strip():
        raise CnnscopeError.of("E406", f"`{text}` swaps nothing", hint="write `--swap relu=silu`")
    if rest.strip() in _NOTHING and within == "*":
        return Remove((what.strip(),))
    tag, args = _layer(rest, text)
    return Swap(what.strip(), tag, args, within)


def parse_insert(text: str) -> Insert:
    """``after=layer1:conv{out: 64, kernel: 3}``. E406 for another form."""
    found = re.fullmatch(r"after=([^:{}]+):(.+)", text.strip(), re.DOTALL)
    if found is None:
        hint = "write `--insert 'after=conv1:conv{out: 64, kernel: 3, pad: half}'`"
        raise CnnscopeError.of("E406", f"`{text}` inserts nothing", hint=hint)
    return Insert(found[1].strip(), *_layer(found[2], text))


def layer_type(name: str) -> type[Op]:
    """The layer type of this name, which may be another framework's; E201, with near names, if there is none."""
    op = named(name)
    if op is None:
        hint = did_you_mean(name.lower(), list(REGISTRY)) or "`cnnscope ops` lists them"
        raise CnnscopeError.of("E201", f"unknown layer type `{name}`", hint=hint)
    return op


def _layer(text: str, whole: str) -> tuple[str, dict[str, Any]]:
    """``conv{out: 64}``, ``groupnorm:8`` or ``relu`` as a tag with arguments."""
    found = re.fullmatch(r"\s*([^\s:{}]+)\s*(?::\s*(.+)|(\{.*\}))?\s*", text, re.DOTALL)
    if found is None:
        raise CnnscopeError.of("E406", f"`{whole}` names no layer type", hint="write `groupnorm:8` or `conv{out: 64}`")
    op = layer_type(found[1])
    if found[3]:
        args = _value(found[3], whole)
        return op.tag, {str(name): value for name, value in args.items()} if isinstance(args, Mapping) else {}
    if not found[2]:
        return op.tag, {}
    name = op.short or next(iter(op.parameters()), None)
    if name is None:
        raise CnnscopeError.of("E202", f"`{op.tag}` has no argument for `{found[2]}`")
    return op.tag, {name: _value(found[2], whole)}


def _value(text: str, whole: str) -> Any:
    """A value as YAML 1.2 has it."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        raise CnnscopeError.of("E406", f"`{whole}` has no value that YAML can read") from None


# -- the other way -----------------------------------------------------------------------------------------------------


def written(change: Change) -> str:
    """The change as `parse` reads it; scales and sizes as the options that they are."""
    match change:
        case SetArgs(layers=layers, args=args):
            return " ".join(f"{layers}.{name}={_flow(value)}" for name, value in args.items())
        case Width(layers=layers, channels=channels):
            return f"{layers}.out={channels}"
        case Swap(what=what, to=to, args=args, within=within):
            return f"{what}={to}" + (_flow(args) if args else "") + (f" in {within}" if within != "*" else "")
        case Remove(layers=names):
            return " ".join(f"{name}=none" for name in names)
        case Insert(after=after, layer=layer, args=args):
            return f"after={after}:{layer}" + (_flow(args) if args else "")
        case Scale(factor=factor):
            return f"scale {factor:g}"
    return "input " + ", ".join(
        (f"{name}=" if name else "") + "x".join(map(str, s)) for name, s in change.sizes.items()
    )


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
