"""A live module is left as it was, and no code of its own classes runs to do it."""

from __future__ import annotations

import copy
import importlib.util
import os
import random
import subprocess
import sys
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


class Doing(nn.Module):
    """Does something with ``state`` whenever it runs; may fail after that."""

    def __init__(self, state: Any, change: Callable[[Any, Tensor], Any], *, fail: bool = False) -> None:
        super().__init__()
        self.conv, self.state, self.change, self.fail = nn.Conv2d(3, 4, 1), state, change, fail

    def forward(self, x: Tensor) -> Tensor:
        self.change(self.state, x)
        if self.fail:
            raise ValueError("on purpose")
        return self.conv(x)


def run(module: nn.Module, *, fail: bool = False) -> None:
    if fail:
        with pytest.raises(CnnscopeError, match="on purpose"):
            from_module(module, parse_inputs(["3x8x8"]))
    else:
        assert [node.op.tag for node in from_module(module, parse_inputs(["3x8x8"])).nodes] == ["conv"]


def refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("code of the user's own class runs")


def hostile(kind: type, *names: str) -> type:
    """A container class every method of which, once it is made, refuses to work."""
    return type(f"Hostile{kind.__name__.title()}", (kind,), dict.fromkeys(names, refuse))


SHARED = (
    "__iter__",
    "__len__",
    "__bool__",
    "__contains__",
    "__copy__",
    "__deepcopy__",
    "__reduce_ex__",
    "clear",
    "copy",
)
TABLE = (*SHARED, "__getitem__", "__setitem__", "__delitem__", "update", "items", "keys", "values", "pop")
LIST = (*SHARED, "__getitem__", "__setitem__", "__delitem__", "append", "extend", "pop", "insert")
SET = (*SHARED, "add", "update", "discard", "remove")
CLASSES: dict[str, tuple[type, Callable[[type], Any], Callable[[Any], Any]]] = {
    "dict": (dict, lambda kind: kind(a=1), lambda x: dict.__setitem__(x, "b", 2)),
    "ordered": (OrderedDict, lambda kind: dict.__new__(kind), lambda x: OrderedDict.__setitem__(x, "b", 2)),
    "counter": (Counter, lambda kind: dict.__new__(kind), lambda x: dict.__setitem__(x, "b", 2)),
    "defaultdict": (defaultdict, lambda kind: kind(int), lambda x: dict.__setitem__(x, "b", 2)),
    "list": (list, lambda kind: kind([1, 2]), lambda x: list.append(x, 3)),
    "set": (set, lambda kind: kind([1, 2]), lambda x: set.add(x, 3)),
    "deque": (deque, lambda kind: kind([1, 2], 2), lambda x: deque.append(x, 3)),
}


def plain(x: Any) -> Any:
    """What is in a container, asked of the built-in type."""
    for kind in (OrderedDict, dict):
        if isinstance(x, kind):
            return list(kind.items(x))
    for kind in (list, deque):
        if isinstance(x, kind):
            return list(kind.__iter__(x))
    return sorted(set.__iter__(x))


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("name", CLASSES)
def test_hostile_containers_get_their_content_back(name: str, fail: bool) -> None:
    kind, make, change = CLASSES[name]
    names = TABLE if issubclass(kind, dict) else SET if kind is set else LIST
    x = make(hostile(kind, *names))
    before = plain(x)
    inner = [x]
    run(Doing({"deep": (inner,)}, lambda state, _: change(state["deep"][0][0]), fail=fail), fail=fail)
    assert plain(x) == before
    assert inner[0] is x
    if kind is deque:
        assert x.maxlen == 2


class Locked(dict[str, Any]):
    """A configuration that refuses changes, as those of model libraries do."""

    def update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("this configuration cannot be changed")

    __setitem__ = pop = setdefault = clear = update  # type: ignore[assignment]


def test_a_locked_configuration_keeps_its_content_and_its_identity() -> None:
    config, calls = Locked(width=4, depths=[1, 2]), Counter(a=3)
    run(Doing((config, calls), lambda state, _: (state[0]["depths"].append(3), state[1].update("a"))))
    assert (config, calls) == ({"width": 4, "depths": [1, 2]}, Counter(a=3))


class Slotted:
    __slots__ = ("empty", "filled")

    def __init__(self) -> None:
        self.filled: Any = 1


class Tracker:
    seen: Any = 0
    names: list[str] = []

    def __init__(self) -> None:
        self.inner, self.count = Slotted(), 0

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)

    def step(self, x: Tensor) -> None:
        self.count += 1
        self.inner.filled = self.inner.empty = x
        Tracker.seen = x
        Tracker.new = x  # type: ignore[attr-defined]
        self.names.append("step")


@pytest.mark.parametrize("fail", [False, True])
def test_plain_objects_slots_and_classes(fail: bool) -> None:
    tracker = Tracker()
    run(Doing([tracker], lambda state, x: state[0].step(x), fail=fail), fail=fail)
    assert (tracker.count, tracker.inner.filled, hasattr(tracker.inner, "empty")) == (0, 1, False)
    assert (Tracker.seen, Tracker.names, hasattr(Tracker, "new")) == (0, [], False)


CALLS, LATEST, OWN_LIST = 0, None, ["kept"]


@lru_cache
def grid(n: int) -> Tensor:
    return torch.arange(n)


class Global(Doing):
    def forward(self, x: Tensor) -> Tensor:
        global CALLS, LATEST
        CALLS, LATEST = CALLS + 1, x
        OWN_LIST.append("lost")
        return super().forward(x + 0 * grid(8))


def test_variables_and_caches_of_the_file_that_defines_a_module() -> None:
    from_module(Global(None, lambda *_: None), parse_inputs(["3x8x8"]))
    assert (CALLS, LATEST, OWN_LIST) == (0, None, ["kept"])
    assert not grid(8).is_inference()  # else nobody could train with it
    grid.cache_clear()


def test_hooks_that_collect_outputs_collect_none_of_ours() -> None:
    module, outputs, last = nn.Sequential(nn.Conv2d(3, 4, 1)), [], None

    def keep(m: nn.Module, args: Any, output: Tensor, seen: dict[str, Any] = {}) -> None:  # noqa: B006
        nonlocal last
        outputs.append(output)
        last = output
        seen["last"] = output

    module[0].register_forward_hook(keep)
    run(module)
    assert (outputs, last, keep.__defaults__) == ([], None, ({},))


def test_state_of_random_generators() -> None:
    own = torch.Generator().manual_seed(1)

    def draw(state: Any, x: Tensor) -> None:
        random.random(), np.random.rand(), torch.rand(3), torch.rand(3, generator=state)

    module = Doing(own, draw)
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), own.get_state()]
    run(module)
    after = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), own.get_state()]
    assert before[:2] == after[:2]
    assert all(map(torch.equal, before[2:], after[2:]))


WRITES: dict[str, Callable[[Any, Tensor], Any]] = {
    "data": lambda m, _: setattr(m.plain, "data", torch.ones(7)),
    "add": lambda m, _: m.plain.add_(1),
    "slice": lambda m, _: m.plain.__setitem__(0, 5.0),
    "resize": lambda m, _: m.plain.resize_(9),
    "view": lambda m, _: m.plain.view(3, 1).mul_(2),
    "buffer": lambda m, _: m.steps.add_(1),
    "numpy": lambda m, _: m.plain.numpy().fill(3),
    "array": lambda m, _: m.array.fill(3),
    "grad": lambda m, _: m.zero_grad(),
    "freeze": lambda m, _: m.requires_grad_(False),
    "half": lambda m, _: m.half().float(),
    "device": lambda m, _: m.to("meta"),
    "load": lambda m, _: m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}),
    "attribute": lambda m, x: setattr(m.conv.weight, "note", x),
    "delete": lambda m, _: delattr(m, "array"),
    "train": lambda m, _: m.train(),
    "weights": lambda m, _: m.conv.weight.data.mul_(2),
    "norm": lambda m, x: nn.functional.batch_norm(x, m.mean, m.var, training=True),
}


class Writing(nn.Module):
    def __init__(self, change: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.change = nn.Conv2d(3, 4, 1), change
        self.plain, self.array = torch.zeros(3), np.zeros(3)
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("var", torch.ones(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.change(self, x)
        return self.conv(x.float())


def tensors(module: Writing) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers()), "plain": module.plain}


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("name", WRITES)
@pytest.mark.filterwarnings("ignore:.*ran for real")
def test_tensors_keep_values_memory_gradients_and_versions(name: str, real: bool) -> None:
    write = WRITES[name]
    module = Writing((lambda m, x: (x.sum().item(), write(m, x))) if real else write).train()
    module.conv.weight.grad = torch.ones_like(module.conv.weight)
    before = {key: (t, t.clone(), t.data_ptr(), t._version, t.requires_grad) for key, t in tensors(module).items()}
    attributes = {path: dict(m.__dict__) for path, m in module.named_modules()}
    from_module(module, parse_inputs(["3x8x8"]))
    after = tensors(module)
    assert after.keys() == before.keys()
    for key, (t, value, address, version, trainable) in before.items():
        assert after[key] is t
        assert torch.equal(t, value), key
        assert (t.data_ptr(), t._version, t.requires_grad, t.device.type) == (address, version, trainable, "cpu"), key
    assert torch.equal(module.conv.weight.grad, torch.ones(4, 3, 1, 1))
    assert not vars(module.conv.weight)
    assert module.array.tolist() == [0, 0, 0]
    for path, m in module.named_modules():
        assert m.__dict__.keys() == attributes[path].keys()
        assert all(m.__dict__[key] is value for key, value in attributes[path].items())


@pytest.mark.parametrize("name", [name for name in WRITES if name != "delete"])
@pytest.mark.filterwarnings("ignore:.*ran for real")
def test_a_load_between_forward_and_backward_does_not_break_the_backward(name: str) -> None:
    module = Writing(WRITES[name])
    extra = nn.Parameter(torch.ones(3))
    y = (module.conv(torch.rand(2, 3, 4, 4)).sum() * module.steps.exp() * (extra * module.plain).exp().prod()).square()
    (expected,) = torch.autograd.grad(y, module.conv.weight, retain_graph=True)
    from_module(module, parse_inputs(["3x8x8"]))
    y.backward()
    assert torch.equal(module.conv.weight.grad, expected)


STATE = st.recursive(
    st.none() | st.integers(0, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
        | st.lists(inner, max_size=3).map(lambda x: deque(x, maxlen=5))
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(st.integers(0, 9), max_size=3)
        | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3).map(OrderedDict)
        | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3).map(UserDict)
        | st.dictionaries(st.text("abc", max_size=2), st.integers(0, 9), max_size=3).map(Counter)
    ),
    max_leaves=12,
)


def walk(x: Any) -> Iterator[Any]:
    yield x
    if isinstance(x, (dict, UserDict)):
        inside = list(x.values())
    else:
        inside = list(x) if isinstance(x, (list, tuple, deque, set)) else []
    for item in inside:
        yield from walk(item)


def disturb(state: Any, x: Tensor) -> None:
    for item in list(walk(state)):
        if isinstance(item, (dict, UserDict)):
            item.pop(next(iter(item), None), None)
            item["new"] = 1 if isinstance(item, Counter) else x
            if isinstance(item, OrderedDict):
                item.move_to_end("new", last=False)
        elif isinstance(item, (list, deque)):
            item.reverse()
            item.append(x)
        elif isinstance(item, set):
            item.clear()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(state=STATE, fail=st.booleans())
def test_nested_state_of_any_shape(state: Any, fail: bool) -> None:
    expected, ids = copy.deepcopy(state), [id(item) for item in walk(state)]
    run(Doing(state, disturb, fail=fail), fail=fail)
    assert repr(state) == repr(expected)
    assert [id(item) for item in walk(state)] == ids


KERAS = """
import keras, numpy, cnnscope
layers = keras.layers
model = keras.Sequential([
    keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(),
    layers.GlobalAveragePooling2D(), layers.Dense(2),
])
model.compile("sgd", "mse")
x, y = numpy.ones((2, 8, 8, 3), "float32"), numpy.ones((2, 2), "float32")
model.fit(x, y, verbose=0)
before, losses = [w.copy() for w in model.get_weights()], model.evaluate(x, y, verbose=0)
kinds = [type(v).__name__ for v in vars(model).values()]
totals = cnnscope.load(model, input=(8, 8, 3)).summary().summary.totals
assert [type(v).__name__ for v in vars(model).values()] == kinds
assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
assert model.evaluate(x, y, verbose=0) == losses
model.fit(x, y, verbose=0)
try:
    cnnscope.load(model, input=(8, 8, 5))
except cnnscope.CnnscopeError as error:
    assert error.diagnostics[0].code == "E435"
model.fit(x, y, verbose=0)
assert totals.params == model.count_params()
print(totals.macs, totals.params)
"""


def test_a_live_keras_model_is_read_and_trains_on() -> None:
    """In a process of its own: a backend of Keras is chosen once."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed")
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, check=False, env=environment)
    macs, params = 36 * 4 * 27 + 4 * 2, (27 + 1) * 4 + 4 * 4 + (4 + 1) * 2  # what does not train, included
    assert (done.returncode, done.stdout.split()[-2:]) == (0, [str(macs), str(params)]), done.stderr
