"""Sizes of a Keras model's inputs: what it declares, and what ``--input`` says."""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import DTYPE_BYTES, Kind
from cnnscope.sources.files import clean
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras.calls import is_shape, malformed
from cnnscope.sources.keras.config import Layer, Network

Declared = tuple[int | None, ...]


def input_size(network: Network, sizes: Sequence[InputSize], channels_last: bool) -> list[tuple[Layer, InputSize]]:
    """Each input layer with its size, without the batch, in the order its author writes axes.

    A size given replaces the declared one in its positions; the channels must be as declared. E403 where a size is
    missing, for no input, or does not fit.
    """
    by_name = {layer.name: layer for layer in network.layers}
    layers = [by_name[ref.layer] for ref in network.inputs]
    for layer in layers:
        if layer.kind != "InputLayer":
            raise malformed(f"`{layer.name}` is an input but a `{layer.kind}`, not an `InputLayer`")
    given = _by_layer(layers, sizes)
    return [(layer, _size(layer, given.get(layer.name), channels_last, len(layers) > 1)) for layer in layers]


def _by_layer(layers: Sequence[Layer], sizes: Sequence[InputSize]) -> dict[str, InputSize]:
    names = {name: layer.name for layer in layers for name in (layer.name, clean(layer.name))}
    result: dict[str, InputSize] = {}
    for size in sizes:
        if size.name is None and len(layers) > 1:
            raise CnnscopeError.of("E403", f"the model has the inputs {_list(names)}: say which one `--input` is for")
        if size.name is not None and size.name not in names:
            hint = did_you_mean(size.name, names) or f"its inputs: {_list(names)}"
            raise CnnscopeError.of("E403", f"the model has no input `{size.name}`", hint=hint)
        result[names[size.name] if size.name else layers[0].name] = size
    return result


def _size(layer: Layer, given: InputSize | None, channels_last: bool, several: bool) -> InputSize:
    declared = _declared(layer)
    if given is None:
        if declared is None or None in declared:
            raise _missing(layer, declared, channels_last, several)
        return InputSize(tuple(n for n in declared if n is not None))
    if declared is not None:
        channels = len(declared) - 1 if channels_last else 0
        fits = len(given.shape) == len(declared) and declared[channels] in (None, given.shape[channels])
        if not fits:
            raise CnnscopeError.of(
                "E403", f"the input `{layer.name}` is declared {_text(declared)} but `--input` is {_text(given.shape)}",
                hint=f"sizes are in the model's own order, {'channels last' if channels_last else 'channels first'}",
            )  # fmt: skip
    return given


def _missing(layer: Layer, declared: Declared | None, channels_last: bool, several: bool) -> CnnscopeError:
    name = f"{layer.name}=" if several else ""
    if declared is None:
        return CnnscopeError.of(
            "E403", "the model was saved before it knew the shape of its input",
            hint=f"say it: `--input {name}{'224x224x3' if channels_last else '3x224x224'}`",
        )  # fmt: skip
    example = tuple(224 if n is None else n for n in declared)
    return CnnscopeError.of(
        "E403", f"the input `{layer.name}` has no fixed size: {_text(declared)}",
        hint=f"say it: `--input {name}{'x'.join(map(str, example))}`",
    )  # fmt: skip


def _declared(layer: Layer) -> Declared | None:
    shape = layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
    if shape is None and isinstance(layer.config.get("shape"), (list, tuple)):
        shape = [None, *layer.config["shape"]]
    if shape is None:
        return None
    if not is_shape(shape) or not shape:
        raise malformed(f"the input `{layer.name}` has no shape but `{shape}`")
    return tuple(shape[1:])


def dtype_of(layer: Layer) -> str:
    """An input's dtype; what the graph has no word for is float32."""
    dtype = layer.config.get("dtype")
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        dtype = dtype["config"].get("name")
    return dtype if isinstance(dtype, str) and dtype in DTYPE_BYTES else "float32"


def kind_of(rank: int) -> Kind:
    """What a tensor that is no map is."""
    return "flat" if rank == 2 else "tokens" if rank == 3 else "tensor"


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape)


def _list(names: dict[str, str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names.values()))
