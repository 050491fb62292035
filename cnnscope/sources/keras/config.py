"""The config of a Keras model as plain data: networks of layers, each with its calls, in one form for Keras 2
and 3.

A Functional model lists layers with their calls (``inbound_nodes``), a Sequential only layers. Keras 2 names a tensor
``["conv1", 0, 0, {kwargs}]`` (layer, call, output). Keras 3 has a ``__keras_tensor__`` with that triple as its
``keras_history``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from cnnscope.errors import CnnscopeError

Json = Mapping[str, Any]
_CONSTANTS = {"__numpy__": "value", "__tensor__": "value"}


@dataclass(frozen=True, slots=True)
class Ref:
    """Output ``index`` of call number ``call`` of a layer."""

    layer: str
    call: int = 0
    index: int = 0
    shape: tuple[int | None, ...] | None = field(default=None, compare=False)
    """The shape that Keras 3 states beside the reference."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """The arguments of a call: a `Ref` for each tensor, plain values elsewhere, in lists and dicts."""

    args: tuple[Any, ...]
    kwargs: Json

    def refs(self) -> Iterator[Ref]:
        """Yields every tensor among the arguments."""
        return refs_of([*self.args, self.kwargs])


def shift(value: Any, offsets: Mapping[str, int]) -> Any:
    """Returns ``value`` with the calls of every inner model numbered from 0."""
    if isinstance(value, Ref):
        return replace(value, call=value.call - offsets.get(value.layer, 0))
    if isinstance(value, LayerCall):
        return LayerCall(tuple(shift(list(value.args), offsets)), shift(value.kwargs, offsets))
    if isinstance(value, list):
        return [shift(item, offsets) for item in value]
    return {key: shift(item, offsets) for key, item in value.items()} if isinstance(value, dict) else value


def read_call(node: object, layer: str) -> LayerCall:
    if isinstance(node, dict):  # Keras 3
        args, kwargs = decode(node.get("args", [])), decode(node.get("kwargs", {}))
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise malformed(f"layer `{layer}`: a call has no `args` and `kwargs`")
        return LayerCall(tuple(args), kwargs)
    if not isinstance(node, list) or not node:
        raise malformed(f"layer `{layer}`: a call in `inbound_nodes` is {kind_of_json(node)}")
    tensors = [node] if isinstance(node[0], str) else node
    decoded = [decode(tensor) for tensor in tensors]
    last = tensors[0][-1] if isinstance(tensors[0], list) and tensors[0] else None
    kwargs = decode(last) if isinstance(last, dict) else {}
    return LayerCall((decoded[0] if len(decoded) == 1 else decoded,), kwargs)


def decode(value: Any) -> Any:
    """Returns the argument of a call as plain data, with `Ref`, `slice` and `...` instead of their JSON forms."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int:
            if value[0] == "_CONSTANT_VALUE":
                return value[2]
            if type(value[2]) is int:
                return Ref(*value[:3])
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__ellipsis__":
        return ...
    if kind == "__tuple__":
        return decode(value.get("items", []))
    if isinstance(config, dict) and kind == "__keras_tensor__":
        ref, shape = decode(config.get("keras_history")), config.get("shape")
        if not isinstance(ref, Ref) or not is_shape(shape):
            raise malformed("a tensor has no `keras_history` and `shape`")
        return replace(ref, shape=tuple(shape))
    if isinstance(config, dict) and kind == "__slice__":
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if isinstance(config, dict) and isinstance(kind, str) and kind in _CONSTANTS:
        return config.get(_CONSTANTS[kind])
    if set(value) == {"start", "stop", "step"}:  # Keras 2
        return slice(value["start"], value["stop"], value["step"])
    return {key: decode(item) for key, item in value.items()}


def refs_of(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from refs_of(item)
    elif isinstance(value, dict):
        yield from refs_of(list(value.values()))


def malformed(what: str, hint: str | None = None) -> CnnscopeError:
    """Returns E443: the config is not one that Keras writes."""
    return CnnscopeError.of("E443", what, hint=hint)


def is_shape(value: object) -> TypeGuard[Sequence[int | None]]:
    """Returns whether a value is a list of extents, with None for those left open."""
    return isinstance(value, (list, tuple)) and all(n is None or (type(n) is int and n > 0) for n in value)


def text(value: object, what: str) -> str:
    """Returns ``value`` if it is text; raises E443 otherwise."""
    if not isinstance(value, str) or not value:
        raise malformed(f"{what} is {kind_of_json(value)}, not text")
    return value


def kind_of_json(value: object) -> str:
    words = {dict: "an object", list: "a list", str: "text", type(None): "missing", bool: "true or false"}
    return words.get(type(value), "a number")


LayerPath = tuple[str, ...]
KERAS_2_FUNCTIONS = frozenset({"TFOpLambda", "SlicingOpLambda"})
MAX_DEPTH = 16
"""The deepest nesting of models. Published ones have two levels at most."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer (or a model in the place of a layer): its name, its class, its config and its calls in order.

    ``module`` is the module of the class as Keras states it; empty in older files. Entries with the same ``shared``
    number are one layer that several models use. ``input_shape`` is what Keras 3 states beside the layer.
    """

    name: str
    kind: str
    config: Json
    calls: tuple[LayerCall, ...]
    module: str = ""
    network: Network | None = None
    shared: int | None = None
    input_shape: tuple[int | None, ...] | None = None

    @property
    def is_function(self) -> bool:
        """Whether it is a function of `keras.ops` or TensorFlow rather than a layer."""
        return self.kind in KERAS_2_FUNCTIONS or self.is_operation

    @property
    def is_operation(self) -> bool:
        """Whether it is a function of `keras.ops`. Keras 3 does not count these among the layers."""
        return self.module.startswith(("keras.src.ops", "keras.ops"))

    @property
    def made(self) -> int:
        """The number of results: one per call. An input has one without being called."""
        return len(self.calls) or (self.kind == "InputLayer")


@dataclass(frozen=True, slots=True)
class Network:
    """A Sequential or Functional model."""

    name: str
    kind: str
    layers: tuple[Layer, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    trainable: bool = True

    def stated_shapes(self) -> dict[tuple[str, int], tuple[int, ...]]:
        """Returns the shapes of first outputs at batch 1, by layer and call, if a reader of that output states
        it in full.
        """
        refs = (ref for layer in self.layers for call in layer.calls for ref in call.refs())
        known = {(ref.layer, ref.call): ref.shape[1:] for ref in refs if ref.shape and not ref.index}
        whole = {place: tuple(n for n in shape if n is not None) for place, shape in known.items()}
        return {place: (1, *shape) for place, shape in whole.items() if len(shape) == len(known[place])}


def read_network(document: object, depth: int = 0) -> Network:
    """Returns the model in a ``config.json`` or in the text of ``model.to_json()``; raises E443 if there is none."""
    if depth > MAX_DEPTH:
        raise CnnscopeError.of("E442", f"models are nested more than {MAX_DEPTH} deep")
    if not isinstance(document, dict) or "class_name" not in document or "config" not in document:
        raise malformed("this JSON is not a Keras model", "it needs `class_name` and `config`, as `to_json()` writes")
    kind, config = text(document["class_name"], "`class_name`"), document["config"]
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"layers": config}
    if not isinstance(config, dict):
        raise malformed(f"the config of `{kind}` is {kind_of_json(config)}, not an object")
    if not isinstance(config.get("layers"), list):
        raise CnnscopeError.of(
            "E444", f"`{kind}` is a model of a class of its own: its config does not say what layers it calls",
            hint="rebuild it with `keras.Model(inputs, outputs)`, or export it to ONNX",
        )  # fmt: skip
    entries = [entry for entry in config["layers"] if isinstance(entry, dict)]
    if len(entries) < len(config["layers"]) or not entries:
        raise malformed(f"the layers of `{kind}` are not a list of objects" if entries else f"`{kind}` has no layers")
    name = text(config.get("name", "model"), "the model's `name`")
    functional = "input_layers" in config and "output_layers" in config
    network = _functional(config, entries, depth) if functional else _sequential(config, document, entries, depth)
    _check_names(network)
    return replace(network, name=name, kind=kind, trainable=config.get("trainable", True) is not False)


def _functional(config: Json, entries: Sequence[Json], depth: int) -> Network:
    layers = tuple(_layer(entry, depth) for entry in entries)
    offsets = {layer.name: 1 for layer in layers if layer.network and _first_call_is_own(layer.network)}
    layers = tuple(replace(layer, calls=tuple(shift(call, offsets) for call in layer.calls)) for layer in layers)
    inputs, outputs = (list(refs_of(decode(config[key]))) for key in ("input_layers", "output_layers"))
    if not inputs or not outputs:
        raise malformed("a model needs `input_layers` and `output_layers`")
    return Network("", "", layers, tuple(inputs), tuple(shift(outputs, offsets)))


def _sequential(config: Json, document: Json, entries: Sequence[Json], depth: int) -> Network:
    layers = [_layer(entry, depth) for entry in entries]
    if layers[0].kind != "InputLayer":
        built = document.get("build_config")
        shape = layers[0].config.get("batch_input_shape") or config.get("build_input_shape")
        shape = shape or (built.get("input_shape") if isinstance(built, dict) else None)
        layers.insert(0, Layer("input", "InputLayer", {"batch_shape": shape}, ()))
    after = [layer.input_shape for layer in layers[1:]]
    chain = [Ref(layer.name, shape=shape) for layer, shape in zip(layers, (*after, None), strict=True)]
    calls = [(), *((LayerCall((previous,), {}),) for previous in chain)]
    linked = tuple(replace(layer, calls=call) for layer, call in zip(layers, calls, strict=False))
    return Network("", "", linked, (chain[0],), (chain[-1],))


def _layer(entry: Json, depth: int) -> Layer:
    kind, config = text(entry.get("class_name"), "`class_name` of a layer"), entry.get("config")
    if not isinstance(config, (dict, list)):
        raise malformed(f"the config of a `{kind}` layer is {kind_of_json(config)}, not an object")
    nested = isinstance(config, list) or isinstance(config.get("layers"), list)
    network = read_network(entry, depth + 1) if nested else _distributed(kind, config, depth)
    settings = {} if isinstance(config, list) else config
    name = text(entry.get("name", settings.get("name")), f"`name` of a `{kind}` layer")
    nodes = entry.get("inbound_nodes", [])
    if not isinstance(nodes, list):
        raise malformed(f"layer `{name}`: `inbound_nodes` is {kind_of_json(nodes)}, not a list")
    calls = tuple(read_call(node, name) for node in nodes)
    shared = entry.get("shared_object_id")
    number = shared if type(shared) is int else None
    return Layer(
        name,
        kind,
        settings,
        calls,
        module=home_of(entry),
        network=network,
        shared=number,
        input_shape=_built_for(entry),
    )


def _distributed(kind: str, config: Any, depth: int) -> Network | None:
    """Returns the model that a `TimeDistributed` applies to each step, if it is a model."""
    inner = config.get("layer") if kind == "TimeDistributed" else None
    settings = inner.get("config") if isinstance(inner, dict) else None
    is_model = isinstance(settings, list) or (isinstance(settings, dict) and isinstance(settings.get("layers"), list))
    return read_network(inner, depth + 1) if is_model else None


def home_of(entry: Json) -> str:
    """Returns the module of a class as Keras states it; nothing for one that is registered by whoever wrote it."""
    module = entry.get("module")
    foreign = ">" in str(entry.get("registered_name"))  # `package>Class`
    return module if isinstance(module, str) and not foreign else ""


def _built_for(entry: Json) -> tuple[int | None, ...] | None:
    built = entry.get("build_config")
    shape = built.get("input_shape") if isinstance(built, dict) else None
    return tuple(shape) if is_shape(shape) and shape else None


def identities(network: Network) -> dict[LayerPath, LayerPath]:
    """Returns for the path of each layer (the names of the models around it, and its own) the path at which the same
    layer comes first.

    Keras leaves the number out where a shared layer comes first, in a model inside another. Then it is the one of the
    same class and name.
    """
    first: dict[int, LayerPath] = {}
    earlier: dict[tuple[str, str], LayerPath] = {}

    def walk(network: Network, above: LayerPath, same: LayerPath) -> Iterator[tuple[LayerPath, LayerPath]]:
        for layer in network.layers:
            own = (*same, layer.name)
            if layer.shared is not None:
                own = first.setdefault(layer.shared, earlier.get((layer.kind, layer.name), own))
            earlier.setdefault((layer.kind, layer.name), own)
            yield (*above, layer.name), own
            if layer.network is not None:
                yield from walk(layer.network, (*above, layer.name), own)

    return dict(walk(network, (), ()))


def _first_call_is_own(network: Network) -> bool:
    """Returns whether the calls of a model that is used as a layer are numbered from 1.

    Keras 2, which writes ``batch_input_shape``, counts the construction of the model as call 0; Keras 3 does not.
    """
    return any("batch_input_shape" in inner.config for inner in network.layers)


def _check_names(network: Network) -> None:
    """Raises E443 unless layer names are unique and every tensor comes from a call that exists."""
    layers: dict[str, Layer] = {}
    for layer in network.layers:
        if layer.name in layers:
            raise malformed(f"two layers are called `{layer.name}`")
        layers[layer.name] = layer
    calls = [call for layer in network.layers for call in layer.calls]
    for ref in [*network.inputs, *network.outputs, *(ref for call in calls for ref in call.refs())]:
        if ref.layer not in layers:
            raise malformed(f"a tensor comes from `{ref.layer}`, which is no layer of the model")
        made = layers[ref.layer].made
        if not 0 <= ref.call < made:
            raise malformed(f"a tensor comes from call {ref.call} of `{ref.layer}`, which is called {made} times")
    inputs = {ref.layer for ref in network.inputs}
    for layer in network.layers:
        if (layer.kind == "InputLayer") != (layer.name in inputs):
            is_or_not = "is" if layer.name in inputs else "is not"
            raise malformed(f"`{layer.name}` is a `{layer.kind}` and {is_or_not} among the model's inputs")
