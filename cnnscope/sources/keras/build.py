"""Builds one graph from networks of Keras layers: sizes of inputs, order of calls, models inside models,
shared layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import DTYPE_BYTES, Graph, Kind, Value
from cnnscope.ir.builder import Builder
from cnnscope.ir.declared import fitted
from cnnscope.ops.arguments import ArgumentError
from cnnscope.sources.files import at_layer, clean, sizes_by_input, topological
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.keras.config import Layer, LayerPath, Network, Ref, identities, is_shape, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor, map_axes
from cnnscope.sources.keras.rules import LAYERS, Arguments, Settings, functions, innermost, masks, refusal, wrappers
from cnnscope.sources.keras.stored import Origin

MAX_CALLS = 20_000
"""More calls than any network makes. Models that call the next one twice could make 2^depth."""

Made = dict[tuple[str, int], list[Tensor]]


def build(network: Network, sizes: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a model. ``sizes`` are input shapes in the author's order (channels last in most of
    Keras).
    """
    return build_with_origins(network, sizes)[0]


def build_with_origins(network: Network, sizes: Sequence[InputSize] = ()) -> tuple[Graph, dict[str, Origin]]:
    """Returns the graph of a model and, by key, the layer and the variable that each of its weights is in Keras."""
    layers = list(_all_layers(network))
    channels_last = not any(layer.config.get("data_format") == "channels_first" for layer in layers)
    signals = any("1D" in layer.kind for layer in layers)
    builder = Builder(clean(network.name), "HWC" if channels_last else "CHW")
    reader = _Reader(builder, channels_last, identities(network))
    found = input_size(network, sizes, channels_last)
    reader.as_declared = all(_as_declared(layer, size) for layer, size in found)
    inputs = [reader.input(layer, size, signals) for layer, size in found]
    with builder.unfinished():
        outputs = reader.run(network, inputs, (), network.trainable)
    return builder.graph(dict.fromkeys(x.name for x in outputs)), reader.origins


@dataclass
class _Reader:
    """Reads networks into ``builder``. ``identities`` has the path of each layer under which it is known. ``keys`` has
    the weights of each layer by that path, from its first call on; ``origins`` what each weight is in Keras, ``count``
    the number of calls. The shapes in the file are those of the network if its inputs are ``as_declared``.
    """

    builder: Builder
    channels_last: bool
    identities: Mapping[LayerPath, LayerPath]
    keys: dict[LayerPath, dict[tuple[str, str], str]] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    as_declared: bool = True
    count: int = 0

    def input(self, layer: Layer, size: InputSize, signals: bool) -> Tensor:
        """Adds a graph input for an InputLayer. Two axes are a signal if any layer uses them so, otherwise tokens."""
        shape, name = (1, *size.shape), self.builder.unique(clean(layer.name))
        is_map = len(shape) > 3 or (len(shape) == 3 and signals)
        axes = map_axes(len(shape), self.channels_last) if is_map else tuple(range(len(shape)))
        value = Value(
            tuple(shape[axis] for axis in axes), size.dtype or dtype_of(layer),
            kind="map" if is_map else kind_of(len(shape)),
        )  # fmt: skip
        return Tensor(self.builder.input(name, value), value, axes)

    def run(self, network: Network, inputs: Sequence[Tensor], path: tuple[str, ...], trainable: bool) -> list[Tensor]:
        """Places every call of a network's layers and returns the network's outputs."""
        if len(inputs) != len(network.inputs):
            raise malformed(f"`{network.name}` has {len(network.inputs)} inputs but is called with {len(inputs)}")
        made: Made = {(ref.layer, ref.call): [x] for ref, x in zip(network.inputs, inputs, strict=True)}
        stated = network.stated_shapes() if self.as_declared else {}
        for layer, number in _in_order(network):
            place = (layer.name, number)
            if place not in made:
                call = layer.calls[number]
                args, kwargs = _resolve(list(call.args), made), _resolve(dict(call.kwargs), made)
                arguments = Arguments(args, kwargs, stated.get(place))
                made[place] = self.call(layer, arguments, (*path, layer.name), trainable)
        return [_pick(ref, made) for ref in network.outputs]

    def call(self, layer: Layer, arguments: Arguments, path: tuple[str, ...], trainable: bool) -> list[Tensor]:
        """Places one call of a layer, or of a model in the place of a layer."""
        self.count += 1
        if self.count > MAX_CALLS:
            raise CnnscopeError.of("E442", f"the model makes more than {MAX_CALLS} calls of layers")
        trainable = trainable and layer.config.get("trainable", True) is not False
        if layer.network is not None:
            self.builder.scopes[clean("/".join(path))] = layer.kind
            if layer.kind == "TimeDistributed":
                return self._each_step(layer, layer.network, arguments.tensor(), path, trainable)
            return self.run(layer.network, arguments.tensors(), path, trainable)
        name = self.builder.unique(clean("/".join(path)))
        identity = self.identities[path]
        row = LayerRow(self.builder, name, self.keys.setdefault(identity, {}), self._channels_last(layer), trainable)
        try:
            if self.as_declared:
                _check_built(layer, arguments)
            row, results = _lower(layer, row, arguments)
            masked = _mask(layer, row, arguments)
            finished = row.finish([row.settle(x, self.channels_last) for x in results])
        except ArgumentError as error:
            raise malformed(f"layer `{layer.name}`: {error.message}", error.hint) from None
        except CnnscopeError as error:
            raise at_layer(error, layer.name) from None
        if row.unknown and not layer.is_function and not _only_function(layer):
            self.builder.uncounted.append(finished[0].name)
        for key, stored in row.stored.items():
            self.origins.setdefault(key, Origin(identity, stored))
        return [replace(x, masked=masked) for x in finished]

    def _each_step(
        self, layer: Layer, network: Network, x: Tensor, path: tuple[str, ...], trainable: bool
    ) -> list[Tensor]:
        """Places a model that a layer applies to each step of a sequence."""
        name = clean("/".join(path))
        merge = LayerRow(self.builder, self.builder.unique(f"{name}.merge"), {}, self._channels_last(layer))
        (merged,) = merge.finish([wrappers.merge_steps(merge, x)])
        results = self.run(network, [merged], path, trainable)
        split = LayerRow(self.builder, self.builder.unique(f"{name}.split"), {}, self._channels_last(layer))
        steps = [split.settle(wrappers.split_steps(split, y, x), self.channels_last) for y in results]
        return split.finish(steps)

    def _channels_last(self, layer: Layer) -> bool:
        written = layer.config.get("data_format")
        return self.channels_last if written is None else written != "channels_first"


_MERGES = frozenset({"Add", "Subtract", "Multiply", "Maximum", "Minimum"})
"""Layers that take one list. Called with two arguments, as in whole-model HDF5, it is the function of that name."""


def _only_function(layer: Layer) -> bool:
    """Returns whether a class is a function of `keras.ops` and no layer. Whole-model HDF5 does not say it."""
    return layer.kind not in LAYERS and functions.is_known(layer)


def _lower(layer: Layer, row: LayerRow, arguments: Arguments) -> tuple[LayerRow, Sequence[Tensor]]:
    """Returns the row with the ops of a layer. One without a rule has an op without figures, if its shape is stated."""
    nameless = not layer.module and ((layer.kind in _MERGES and len(arguments.args) > 1) or _only_function(layer))
    if layer.is_function or nameless:
        return row, functions.lower(row, Settings(layer), arguments)
    try:
        if layer.kind not in LAYERS:
            raise refusal(layer)
        return row, LAYERS[layer.kind](row, Settings(layer), arguments)
    except CnnscopeError as error:
        if error.diagnostics[0].code not in ("E444", "E445") or arguments.stated is None:
            raise
    row = LayerRow(row.builder, row.name, row.keys, row.channels_last, row.trainable, unknown=True)
    return row, [functions.unsupported(row, innermost(layer).kind, arguments)]


_HAVE_KERNELS = re.compile(r"Dense|(Separable|Depthwise)?Conv\dD(Transpose)?")


def _check_built(layer: Layer, arguments: Arguments) -> None:
    """Raises E301 if the file says that a kernel was built for another number of features than it gets."""
    tensors, built = arguments.tensors(), layer.input_shape
    if not built or len(tensors) != 1 or tensors[0].rank != len(built) or not _HAVE_KERNELS.fullmatch(layer.kind):
        return
    axis = 1 if layer.config.get("data_format") == "channels_first" else -1
    wanted, found = built[axis], tensors[0].shape[axis]
    if wanted not in (None, found):
        raise CnnscopeError.of("E301", f"it was built for {wanted} features but gets {found}")


def _mask(layer: Layer, row: LayerRow, arguments: Arguments) -> bool:
    """Returns whether the results of a call have a mask. The ops of a layer that reads one say that they lost it."""
    masked = any(x.masked for x in arguments.tensors())
    if layer.kind in masks.READERS and (masked or arguments.kwargs.get("mask") is not None):
        row.lose("mask")
    s = Settings(layer)
    return masks.makes_mask(s) or (masked and masks.keeps_mask(s))


def _all_layers(network: Network) -> Iterator[Layer]:
    for layer in network.layers:
        yield layer
        if layer.network is not None:
            yield from _all_layers(layer.network)


def _in_order(network: Network) -> Iterator[tuple[Layer, int]]:
    """Yields every call after those it reads, otherwise as listed. Raises E443 if calls wait for each other."""
    calls = [(layer, n) for layer in network.layers for n in range(layer.made)]
    place = {(layer.name, n): i for i, (layer, n) in enumerate(calls)}
    order = topological([
        {place[ref.layer, ref.call] for call in layer.calls[n : n + 1] for ref in call.refs()} for layer, n in calls
    ])  # fmt: skip
    if len(order) < len(calls):
        waiting, _ = calls[min(set(range(len(calls))) - set(order))]
        raise malformed(f"layer `{waiting.name}` needs its own output")
    yield from (calls[i] for i in order)


def _resolve(value: Any, made: Made) -> Any:
    if isinstance(value, Ref):
        return _pick(value, made)
    if isinstance(value, list):
        return [_resolve(item, made) for item in value]
    return {key: _resolve(item, made) for key, item in value.items()} if isinstance(value, dict) else value


def _pick(ref: Ref, made: Made) -> Tensor:
    outputs = made[ref.layer, ref.call]
    if not 0 <= ref.index < len(outputs):
        raise malformed(f"`{ref.layer}` has {len(outputs)} outputs; there is no number {ref.index}")
    return outputs[ref.index]


Declared = tuple[int | None, ...]


def input_size(network: Network, sizes: Sequence[InputSize], channels_last: bool) -> list[tuple[Layer, InputSize]]:
    """Returns each input layer with its size, without batch, with the axes in the author's order.

    A given size replaces the declared one, but the number of channels must be as declared. Raises E403 if a size is
    missing, does not fit, or is for no input.
    """
    by_name = {layer.name: layer for layer in network.layers}
    layers = [by_name[ref.layer] for ref in network.inputs]
    for layer in layers:
        if layer.kind != "InputLayer":
            raise malformed(f"`{layer.name}` is an input but a `{layer.kind}`, not an `InputLayer`")
    given = sizes_by_input((layer.name for layer in layers), sizes)
    return [(layer, _size(layer, given.get(layer.name), channels_last, len(layers) > 1)) for layer in layers]


def _size(layer: Layer, given: InputSize | None, channels_last: bool, several: bool) -> InputSize:
    declared = _declared(layer)
    if given is None:
        if declared is None or None in declared:
            raise _missing(layer, declared, channels_last, several)
        return InputSize(tuple(n for n in declared if n is not None))
    if declared is None:
        return given
    axis = None if len(declared) < 2 else len(declared) - 1 if channels_last else 0
    return replace(given, shape=fitted(declared, given.shape, axis, layer.name if several else ""))


def _as_declared(layer: Layer, size: InputSize) -> bool:
    declared = _declared(layer)
    return declared is None or all(n in (None, m) for n, m in zip(declared, size.shape, strict=False))


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
    """Returns the dtype of an input; float32 if the graph does not know it."""
    dtype = layer.config.get("dtype")
    if isinstance(dtype, dict) and isinstance(dtype.get("config"), dict):
        dtype = dtype["config"].get("name")
    return dtype if isinstance(dtype, str) and dtype in DTYPE_BYTES else "float32"


def kind_of(rank: int) -> Kind:
    """Returns the kind of a tensor that is no map."""
    return "flat" if rank == 2 else "tokens" if rank == 3 else "tensor"


def _text(shape: Sequence[int | None]) -> str:
    return "x".join("?" if n is None else str(n) for n in shape)
