"""The weights of a Keras model by the keys of its graph, from ``.keras``, ``.weights.h5`` and whole-model ``.h5``.

Keras 3 stores the variables of a layer by number at a path of classes (``layers/conv2d_1/vars/0``): the second
`Conv2D` of the model, whatever its name. Older files have a group for each layer of the model by its name, with the
names of its weights in order; the weights of all layers of an inner model are in the group of that model.
Source: `keras.src.saving.saving_lib` and `keras.src.legacy.saving.legacy_h5_format`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnscope.errors import explained
from cnnscope.ir import Graph
from cnnscope.sources.keras import hdf5
from cnnscope.sources.keras.config import Layer, LayerPath, Network
from cnnscope.sources.keras.hdf5 import unreadable
from cnnscope.sources.keras.stored import Array, Origin, Stored

if TYPE_CHECKING:
    from h5py import Dataset, File
    from torch import Tensor

Variable = tuple[LayerPath, str, str]
"""A variable by its layer, the path of attributes to its sublayer, and its name."""


@explained
def read_weights(path: Path, network: Network, graph: Graph, origins: Mapping[str, Origin]) -> dict[str, Tensor]:
    """Returns every weight and buffer of ``graph``, whose ``origins`` in Keras are known, in torch's order.

    Raises `CnnscopeError`: E414 without h5py or torch, E441 and E442 for damaged files, E448 if the file's weights are
    not those of the network.
    """
    import torch

    lost = next((key for key in graph.params if key not in origins), None)
    if lost is not None:
        raise unreadable(path, f"no rule says which variable of Keras `{lost}` is")
    sizes, wanted = _wanted(graph, origins)
    numbers = {
        _place(origin.layer, origin.stored): origin.stored.place
        for origin in origins.values() if isinstance(origin.stored, Stored) and origin.stored.place is not None
    }  # fmt: skip
    result: dict[str, Tensor] = {}
    arrays: dict[Variable, Array] = {}
    with hdf5.opened(path, sum(param.nbytes for param in graph.params.values())) as file:
        found = _locate(file, path, network, wanted, numbers)
        for key, param in graph.params.items():
            origin = origins[key]
            if not isinstance(origin.stored, Stored):
                result[key] = torch.zeros(param.shape)
                continue
            place = _place(origin.layer, origin.stored)
            if place not in arrays:
                arrays[place] = hdf5.read(found[place], sizes[place], _words(place), path)
            array = _turned(arrays[place], origin.stored, param.shape, _words(place), path)
            result[key] = torch.from_numpy(np.array(array)).to(getattr(torch, param.dtype))
    return result


def _place(layer: LayerPath, stored: Stored) -> Variable:
    return layer, stored.home, stored.name


def _words(place: Variable) -> str:
    layer, home, name = place
    return f"`{name}` of the layer `{'/'.join(layer)}`" + (f" (`{home}`)" if home else "")


def _turned(array: Array, stored: Stored, shape: tuple[int, ...], what: str, path: Path) -> Array:
    if array.dtype.kind != "f" and shape:
        raise unreadable(path, f"{what} has elements of type {array.dtype}: quantised models are not read")
    try:
        turned = np.asarray(stored.turn(array))
    except (ValueError, IndexError):
        turned = None
    if turned is None or turned.shape != shape:
        raise unreadable(
            path, f"{what} has the shape {list(array.shape)}, which does not give {list(shape)} in torch's order"
        )
    return turned


def _wanted(graph: Graph, origins: Mapping[str, Origin]) -> tuple[dict[Variable, int], dict[Variable, bool]]:
    """Returns how many numbers each variable has, and whether it is trained, in the order in which layers have them."""
    sizes: dict[Variable, int] = {}
    trained: dict[Variable, bool] = {}
    for key, param in graph.params.items():
        origin = origins[key]
        if isinstance(origin.stored, Stored):
            place = _place(origin.layer, origin.stored)
            sizes[place] = sizes.get(place, 0) + param.numel
            trained[place] = param.trainable
    return sizes, trained


def _locate(
    file: File, path: Path, network: Network, wanted: Mapping[Variable, bool], numbers: Mapping[Variable, int]
) -> dict[Variable, Dataset]:
    by_layer: dict[LayerPath, list[Variable]] = {}
    for place in wanted:
        by_layer.setdefault(place[0], []).append(place)
    root = hdf5.group(file, "model_weights", path) or file
    if "layer_names" in root.attrs or "layer_names0" in root.attrs:
        return _by_name(root, path, network, by_layer, wanted, numbers)
    return _by_number(file, path, network, by_layer, numbers)


# -- Keras 3 ---------------------------------------------------------------------------------------------------------


def _by_number(
    file: File,
    path: Path,
    network: Network,
    by_layer: Mapping[LayerPath, list[Variable]],
    numbers: Mapping[Variable, int],
) -> dict[Variable, Dataset]:
    root = "_layer_checkpoint_dependencies" if "_layer_checkpoint_dependencies" in file else "layers"  # Keras 2.12
    if hdf5.group(file, root, path) is None:
        raise unreadable(path, "it has no group `layers`: it is no file of Keras weights")
    found: dict[Variable, Dataset] = {}
    places = dict(class_paths(network, root))
    _refuse_others(file, {root, *(place.rpartition("/")[0] for place in places.values())}, {*places.values()}, path)
    for layer, place in places.items():
        homes: dict[str, list[Variable]] = {}
        for variable in by_layer.get(layer, ()):
            homes.setdefault(variable[1], []).append(variable)
        for home, variables in homes.items():
            there = _variables(file, place, home, path)
            picked = [numbers[variable] for variable in variables if variable in numbers]
            if picked and max(picked) < len(there):
                there = [there[number] for number in picked]
            if len(there) != len(variables):
                what = f"the layer `{'/'.join(layer)}`" + (f" (`{home}`)" if home else "")
                raise unreadable(path, f"{what} has {len(there)} variables at `{place}`, not {len(variables)}")
            found.update(zip(variables, there, strict=True))
    return found


def _refuse_others(file: File, holders: set[str], places: set[str], path: Path) -> None:
    """Raises E448 if a group that holds layers has weights of a layer that the network does not have."""
    others = [
        f"{holder}/{name}" for holder in sorted(holders)
        for name in (hdf5.group(file, holder, path) or ()) if f"{holder}/{name}" not in places
    ]  # fmt: skip
    for place in others:
        inside = hdf5.group(file, place, path) or ()
        if any(_variables(file, place, home, path) for home in ("", *inside)):
            raise unreadable(path, f"it has weights of a layer at `{place}`, which the network does not have")


def _variables(file: File, place: str, home: str, path: Path) -> list[Dataset]:
    """Returns the variables of a layer or sublayer in order. Attributes may be private in other versions."""
    above, _, last = home.rpartition("/")
    for name in (home, f"{above}/_{last}"):
        there = hdf5.group(file, f"{place}/{name}/vars", path)
        if there is not None:
            return list(hdf5.datasets(there, path).values())
    return []


def class_paths(network: Network, root: str = "layers", above: LayerPath = ()) -> Iterator[tuple[LayerPath, str]]:
    """Yields every layer with its path in a file of Keras 3, where layers of one class are numbered."""
    times: Counter[str] = Counter()
    for layer in network.layers:
        if layer.is_operation:
            continue
        name = snake_case(_CLASSES.get(layer.kind, layer.kind))
        number = times[name]
        times[name] += 1
        place = f"{root}/{name}" + (f"_{number}" if number else "")
        path = (*above, layer.name)
        yield path, place
        if layer.network is not None:
            inside = f"{place}/layer" if layer.kind == "TimeDistributed" else place
            yield from class_paths(layer.network, f"{inside}/{root.rpartition('/')[2]}", path)


_CLASSES = {"GroupQueryAttention": "GroupedQueryAttention"}
"""Classes that files name otherwise than their code does."""


def snake_case(name: str) -> str:
    """Returns the name of a class as Keras writes it in paths. Source: `keras.src.utils.naming.to_snake_case`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


# -- whole-model HDF5 ------------------------------------------------------------------------------------------------


def _by_name(
    root: Any, path: Path, network: Network, by_layer: Mapping[LayerPath, list[Variable]],
    trained: Mapping[Variable, bool], numbers: Mapping[Variable, int],
) -> dict[Variable, Dataset]:  # fmt: skip
    stored = {name: _names(root, name, path) for name in _texts(root, "layer_names", path)}
    stored = {name: weights for name, weights in stored.items() if weights}
    own = {layer.name: _in_order(layer, by_layer, trained, numbers) for layer in network.layers}
    own = {name: variables for name, variables in own.items() if variables}
    if set(stored) != set(own) and len(stored) == len(own):  # other names, as in a model that was built again
        stored = dict(zip(own, stored.values(), strict=True))
    found: dict[Variable, Dataset] = {}
    for name in [*own, *stored]:
        weights, variables = stored.get(name, []), own.get(name, [])
        if len(weights) != len(variables):
            what = f"the layer `{name}` has {len(weights)} weights in the file, {len(variables)} in the network"
            raise unreadable(path, what)
        found.update(zip(variables, weights, strict=True))
    return found


def _in_order(
    layer: Layer, by_layer: Mapping[LayerPath, list[Variable]], trained: Mapping[Variable, bool],
    numbers: Mapping[Variable, int],
) -> list[Variable]:  # fmt: skip
    """Returns the variables of a layer, or of all layers in a model: those that are trained, then the others."""
    paths: list[LayerPath] = [(layer.name,)]
    if layer.network is not None:
        paths = [path for path, _ in class_paths(layer.network, "", (layer.name,))]
    each = (sorted(by_layer.get(path, ()), key=lambda variable: numbers.get(variable, 0)) for path in paths)
    variables = [variable for own in each for variable in own]
    return sorted(variables, key=lambda variable: not trained[variable])


def _names(root: Any, layer: str, path: Path) -> list[Dataset]:
    holder = hdf5.group(root, layer, path)
    if holder is None:
        raise unreadable(path, f"it has no group of the layer `{layer}`")
    names = _texts(holder, "weight_names", path)
    found = [(name, hdf5.dataset(holder, name, path)) for name in names]
    missing = next((name for name, item in found if item is None), None)
    if missing is not None:
        raise unreadable(path, f"the weight `{missing}` of the layer `{layer}` is missing")
    return [item for _, item in found if item is not None]


def _texts(holder: Any, name: str, path: Path) -> list[str]:
    """Returns a list of names from an attribute, or from several numbered ones if it was too long for one."""
    parts = [name] if name in holder.attrs else []
    while f"{name}{len(parts)}" in holder.attrs and name not in holder.attrs:
        parts.append(f"{name}{len(parts)}")
    items = [item for part in parts for item in list(holder.attrs[part])]
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]
    if not all(isinstance(item, str) for item in texts):
        raise unreadable(path, f"its attribute `{name}` is no list of names")
    return [str(item).encode("utf-8", "replace").decode() for item in texts]  # h5py keeps bytes that are no text
