"""Builds the graph of an ONNX model: its inputs, its constants, its nodes in order."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Stored, Value
from cnnscope.ir.builder import Builder
from cnnscope.ops.arguments import ArgumentError
from cnnscope.ops.generic import Elementwise
from cnnscope.ops.movement import Identity
from cnnscope.sources.files import at_layer, clean, topological
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx.batches import Batches
from cnnscope.sources.onnx.fold import fold
from cnnscope.sources.onnx.inputs import read_inputs
from cnnscope.sources.onnx.opsets import versions
from cnnscope.sources.onnx.rows import places_of, rows, scope_classes
from cnnscope.sources.onnx.rules import RULES, OperatorCall, Rounds, UnreadableError
from cnnscope.sources.onnx.shapes import Shapes, read_by
from cnnscope.sources.onnx.values import Array, Const, Operand, invalid
from cnnscope.sources.onnx.weights import Weights


def build(model: ModelProto, sizes: Sequence[InputSize] = ()) -> Graph:
    """Returns the graph of a model without local functions. ``sizes`` are input shapes without the batch."""
    return build_with_weights(model, sizes).graph


@dataclass(frozen=True, slots=True)
class Built:
    """A graph, the constants behind its weights by key, and what a reader should know of it."""

    graph: Graph
    views: Mapping[str, Const]
    notes: tuple[str, ...]


ROUNDED = "the file rounds values between layers to integers; a module built from it does not"


def build_with_weights(model: ModelProto, sizes: Sequence[InputSize] = (), path: Path | None = None) -> Built:
    """Returns the graph of a model without local functions, with its weights. ``path`` is the model's file, where
    stored tensors are looked for.
    """
    if not model.graph.output:
        raise invalid("the graph has no outputs")
    reader = read(model, sizes, path)
    outputs = [reader.output(output.name) for output in model.graph.output]
    reader.keep_unused(model.graph)
    notes = [ROUNDED] if reader.rounds.names or reader.rounds.measured else []
    if reader.batches.fixed:
        layer = reader.builder.nodes[reader.batches.fixed[0]].layer
        notes.append(f"`{layer}` has a shape for one image: a module built from the file takes one at a time")
    return Built(reader.builder.graph(dict.fromkeys(outputs)), reader.weights.views, tuple(notes))


def read(model: ModelProto, sizes: Sequence[InputSize] = (), path: Path | None = None) -> Reader:
    """Reads all nodes of a model and returns the reader, which knows each of its values."""
    proto = model.graph
    check_text(proto)
    builder = Builder(clean(proto.name or "model"))
    env: dict[str, Operand] = {}
    others = set(no_parameters(proto))
    for tensor in proto.initializer:
        constant = Const.read(tensor, tensor.name, path)
        _define(env, tensor.name, replace(constant, origin=()) if tensor.name in others else constant)
    for sparse in proto.sparse_initializer:
        _define(env, sparse.values.name, _sparse(sparse, path))
    inputs, channels_last = read_inputs(proto, sizes)
    batches = Batches()
    for name, value in inputs.items():
        _define(env, name, builder.input(builder.unique(clean(name)), value))
        batches.feed(str(env[name]), value)
    read = {name for node in proto.node for name in read_by(node)} | {output.name for output in proto.output}
    reader = Reader(builder, env, versions(model), Shapes(model, inputs), path, Weights(builder), frozenset(read),
                    literal=model.producer_name == "pytorch" and bool(proto.initializer), batches=batches)  # fmt: skip
    with builder.unfinished():
        reader.run(proto.node, channels_last)
    return reader


KIND, FOLDED = "pkg.torch.export.graph_signature.InputSpec.kind", "pkg.onnxscript.optimizer.folded_from"


def no_parameters(proto: GraphProto) -> Iterator[str]:
    """Yields the tensors of which torch's exporter says that they are constants: tensors in the code, and what it
    computed from them (the coordinates of an interpolation, the divisors of a pool). The weights of layers are weights
    whatever it says. It names what it computed a tensor from: weights, operations, and functions that make tensors.
    """
    for info in proto.value_info:
        said = {entry.key: entry.value for entry in info.metadata_props}
        if said.get(KIND, "") == "CONSTANT_TENSOR" or _is_made(said.get(FOLDED, "")):
            yield info.name


_MAKERS = frozenset({"arange", "linspace", "lifted_tensor", "full", "scalar_tensor", "zeros", "ones", "eye"})


def _is_made(names: str) -> bool:
    """Returns whether a tensor was computed from tensors in the code: a function made one, and no name is that of a
    module's weight, which has a dot, or all names are numbers of operations.
    """
    stems = {re.sub(r"(_\d+)?$", "", name) for name in re.findall(r"'([^']*)'", names)}
    return bool(stems) and "." not in names and (stems == {"val"} or not stems.isdisjoint(_MAKERS))


def _define(env: dict[str, Operand], name: str, operand: Operand) -> None:
    if name in env:
        raise invalid(f"two values are called `{name}`")
    env[name] = operand


def _sparse(sparse: SparseTensorProto, path: Path | None) -> Const:
    """Returns a tensor of which the file has the elements that are not 0. As many count as its shape says."""
    name, shape = sparse.values.name, tuple(sparse.dims)
    values, places = Const.read(sparse.values, name, path), Const.read(sparse.indices, f"{name} indices", path)

    def whole(x: Sequence[Array]) -> Array:
        dense = np.zeros(shape, x[0].dtype)
        index = x[1] if x[1].ndim == 2 else np.stack(np.unravel_index(x[1], shape), 1)
        dense[tuple(index.T)] = x[0]
        return dense

    leaf = Stored(name, prod(shape), values.dtype)
    return replace(Const.computed(name, shape, values.dtype, b"sparse", whole, (values, places), (leaf,)), leaf=leaf)


@dataclass
class Reader:
    """Reads nodes into ``builder``. ``env`` has every value so far, by its name in the file."""

    builder: Builder
    env: dict[str, Operand]
    opsets: Mapping[str, int]
    shapes: Shapes
    path: Path | None
    weights: Weights
    read: frozenset[str] = frozenset()
    """The names that somebody reads. What a node makes besides, such as a mask or indices, is left out."""
    rounds: Rounds = field(default_factory=Rounds)
    literal: bool = False
    """Whether `Constant` nodes are numbers in the code, as in torch's exports, where all weights are initializers."""
    placed: dict[bytes, str] = field(default_factory=dict)
    batches: Batches = field(default_factory=Batches)

    def run(self, nodes: Sequence[NodeProto], channels_last: Collection[str] = ()) -> None:
        """Lowers every node. ``channels_last`` are inputs whose transposes only move their channels to the front."""
        ordered = in_order(nodes)
        computing = list(_computing(ordered, {name for name, x in self.env.items() if isinstance(x, str)}))
        places = places_of(computing)
        names = dict(zip(map(id, computing), rows(computing, places), strict=True))
        self.builder.scopes.update(scope_classes(computing, places))
        for node in ordered:
            first = next(iter(node.input), "")
            if node.op_type == "Transpose" and first in channels_last:
                self._define(node.output, [self.env[first]])
            elif node.op_type == "Constant" and not node.domain:
                self._define(node.output, [self._constant(node)])
            else:
                self._node(node, *(names.get(id(node)) or rows([node])[0]))

    def _node(self, node: NodeProto, row: str, base: str) -> None:
        inputs = [self._operand(name, node) if name else None for name in node.input]
        domain = node.domain or "ai.onnx"
        outputs = [name if i == 0 or name in self.read else "" for i, name in enumerate(node.output)]
        call = OperatorCall(
            builder=self.builder, type=node.op_type if domain == "ai.onnx" else f"{domain}::{node.op_type}",
            base=base, layer=row, inputs=inputs, outputs=outputs, attributes=_attributes(node),
            opset=self.opsets.get(domain, 1), stated=self.shapes.of(node, self._known), weights=self.weights,
            rounds=self.rounds, reads=list(node.input), placed=self.placed, batches=self.batches,
        )  # fmt: skip
        try:
            self._define(outputs, self._lowered(call))
        except ArgumentError as error:
            raise at_layer(invalid(error.message, error.hint), row) from None
        except CnnscopeError as error:
            raise at_layer(error, row) from None

    def _lowered(self, call: OperatorCall) -> Sequence[Operand]:
        if call.type == "If":
            return self._branch(call)
        folded = fold(call)
        if folded is not None:
            return folded
        rule = RULES.get(call.type)
        if rule is None:
            return call.unsupported()
        try:
            return rule(call)
        except UnreadableError as error:
            return call.unsupported(str(error))

    def _constant(self, node: NodeProto) -> Const:
        """Returns the value of a ``Constant`` node, which may be written in several ways."""
        attributes, name = _attributes(node), node.output[0] if node.output else ""
        value = next(iter(attributes.values()), None)
        if isinstance(value, TensorProto):
            constant = Const.read(value, name, self.path)
            return replace(constant, origin=()) if self.literal else constant
        if isinstance(value, SparseTensorProto):
            return replace(_sparse(value, self.path), name=name)
        kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
        kind = next((kinds[key] for key in attributes if key in kinds), None)
        numbers = value if isinstance(value, list) else [value]
        if kind is None or not all(isinstance(number, (int, float)) for number in numbers):
            raise invalid(f"the constant `{name}` is written in a way cnnscope does not read")
        return Const.read(numpy_helper.from_array(np.array(value, kind)), name)

    def _branch(self, call: OperatorCall) -> Sequence[Operand]:
        """Returns the results of the branch of an ``If`` that is taken, if the condition is a constant."""
        condition = call.constant(0)
        if condition is None or condition.value is None:
            return call.unsupported("the network itself decides which branch of `If` is taken")
        branch = call.attributes.get("then_branch" if condition.value.any() else "else_branch")
        if not isinstance(branch, GraphProto):
            raise invalid("`If` lacks a branch")
        for tensor in branch.initializer:
            self._define([tensor.name], [Const.read(tensor, tensor.name, self.path)])
        self.run(branch.node)
        return [self._operand(output.name, None) for output in branch.output]

    def _operand(self, name: str, reader: NodeProto | None) -> Operand:
        if name not in self.env:
            who = f"`{reader.name or reader.op_type}`" if reader is not None else "the graph"
            raise invalid(f"{who} reads `{name}`, which nothing makes")
        return self.env[name]

    def _known(self, name: str) -> Value | Const | None:
        operand = self.env.get(name)
        return self.builder.values[operand] if isinstance(operand, str) else operand

    def _define(self, names: Sequence[str], operands: Sequence[Operand]) -> None:
        for name, operand in zip(names, operands, strict=False):
            if name:
                _define(self.env, name, operand)

    def output(self, name: str) -> str:
        """Returns the node of an output of the graph. A constant, or an input that is an output too, gets a node of its
        own.
        """
        operand = self._operand(name, None)
        call = OperatorCall(
            builder=self.builder, type="Identity", base=clean(name), layer=clean(name), inputs=[operand],
            outputs=[name], attributes={}, opset=1, stated=lambda name: None, weights=self.weights,
            rounds=self.rounds, placed=self.placed, batches=self.batches,
        )  # fmt: skip
        held = call.tensor(0)
        if held in self.rounds.types and name not in self.rounds.names:
            return call.emit_call(Elementwise("dequantizelinear", dtype=self.rounds.types[held]), "clone", held)
        if held in self.rounds.types and held in self.builder.nodes:  # integers, which a module does not make
            self.builder.nodes[held] = replace(self.builder.nodes[held], lost=("rounding",))
        return call.emit(Identity(), held) if held in self.builder.inputs else held

    def keep_unused(self, proto: GraphProto) -> None:
        """Adds the weights that no node reads: they are parameters all the same."""
        read = {name for node in proto.node for name in read_by(node)}
        for tensor in proto.initializer:
            constant = self.env[tensor.name]
            if tensor.name not in read and isinstance(constant, Const) and constant.is_weight:
                self.weights.enter(constant, constant.shape, "the graph")


def check_text(proto: GraphProto) -> None:
    """Raises E447 unless every name is text: protobuf passes damaged names on as bytes."""
    names = [proto.name, *(info.name for info in (*proto.input, *proto.output, *proto.value_info))]
    names += [tensor.name for tensor in proto.initializer] + [sparse.values.name for sparse in proto.sparse_initializer]
    names += [dim.dim_param for info in proto.input for dim in info.type.tensor_type.shape.dim]
    for node in proto.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [text for entry in node.metadata_props for text in (entry.key, entry.value)]
        for attribute in node.attribute:
            names += [attribute.name, attribute.ref_attr_name]
            for graph in (attribute.g, *attribute.graphs):
                check_text(graph)
    if not all(isinstance(name, str) for name in names):
        raise invalid("a name in the graph is not text")


def in_order(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Returns the nodes, each after those it reads, otherwise as listed. Raises E447 if nodes wait for each other."""
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    needs = [{makers[name] for name in read_by(node) if name in makers} for node in nodes]
    order = topological(needs)
    if len(order) < len(nodes):
        waiting = nodes[min(set(range(len(nodes))) - set(order))]
        raise invalid(f"`{waiting.name or waiting.op_type}` needs its own output")
    return [nodes[i] for i in order]


def _computing(nodes: Sequence[NodeProto], live: set[str]) -> Iterator[NodeProto]:
    """Yields the nodes whose results depend on more than shapes and constants."""
    for node in nodes:
        if node.op_type not in ("Shape", "Size", "Constant") and any(name in live for name in node.input):
            live.update(node.output)
            yield node


def _attributes(node: NodeProto) -> dict[str, Any]:
    try:
        return {a.name: helper.get_attribute_value(a) for a in node.attribute if not a.ref_attr_name}
    except ValueError as error:
        raise invalid(f"`{node.name or node.op_type}` has an attribute without a value: {str(error).lower()}") from None
