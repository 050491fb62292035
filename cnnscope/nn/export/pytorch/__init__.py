"""A graph as a Python file that needs only torch. Blocks become classes, and names are those of the graph."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping, Sequence

from cnnscope._version import __version__
from cnnscope.analysis.cost import known, node_costs, param_cost
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node
from cnnscope.nn.code import Call
from cnnscope.nn.export import TRACED, check_operands, described, prepared, unwritable
from cnnscope.nn.export.pytorch.body import Class, Names, camel
from cnnscope.nn.export.pytorch.classes import Classes
from cnnscope.nn.export.pytorch.forward import class_lines, docstring
from cnnscope.nn.export.pytorch.scopes import ANONYMOUS, owner, scopes, unique
from cnnscope.nn.export.pytorch.tensors import unpacked
from cnnscope.nn.ops import make, torch_op
from cnnscope.nn.ops.base import Code, Definition, Module, applied_to
from cnnscope.ops.base import shape_text
from cnnscope.ops.traced import Traced

_STANDARD = (  # what a file may import, and the character after a name that is such an import
    ("base64", "b85decode", "("), ("collections", "OrderedDict", "("), ("collections.abc", "Sequence", "["),
    ("functools", "reduce", "("), ("math", "comb", "("), ("math", "prod", "("), ("zlib", "decompress", "("),
)  # fmt: skip
_OWN_NAMES = {"Tensor", "OrderedDict"}


def pytorch_source(graph: Graph) -> str:
    """Returns the file's text. Its last class is the network, whose state dict has the keys of ``graph.stored``, so
    that it takes the weights of the network that was read.

    Weights that nothing uses are left out, and the file's docstring names them; ``load_state_dict(weights,
    strict=False)`` leaves them out too. Raises `CnnscopeError` E427 if an op lacks an operand or cannot be written, and
    where weights are shared in a way that classes cannot have.
    """
    check_operands(graph, "PyTorch")
    graph, unused = prepared(graph)
    codes = _codes(graph)
    definitions = dict.fromkeys(part for code in codes.values() for part in code.defines)
    root = scopes(graph, codes)
    classes = Classes(graph, codes, Names({*_OWN_NAMES, *(part.__name__ for part in definitions), camel(graph.name)}))
    classes.names.taken.discard(camel(graph.name))
    classes.add(root)
    blocks = ["\n".join(class_lines(cls, _docstring(cls))) for cls in classes.classes[:-1]]
    final = classes.classes[-1]
    blocks.append("\n".join(class_lines(final, _shapes(graph), _inputs(graph), graph.outputs, _freezing(graph, codes))))
    if any(f"{unpacked.__name__}(" in block for block in blocks):
        definitions[unpacked] = None
    code = "\n\n\n".join([*map(_source, definitions), *blocks])
    text = f"{_docstring_of_file(graph, unused)}\n\n{_imports(code)}\n\n\n{code}\n"
    try:
        compile(text, "<export>", "exec")  # names come from the author, so the file is checked before it replaces one
    except (SyntaxError, ValueError, RecursionError) as error:
        raise unwritable(
            graph, "PyTorch", f"its names make no valid Python ({error})", (), "rename its layers"
        ) from None
    return text


def _codes(graph: Graph) -> dict[str, Code]:
    """The code of every node. E427 for nodes that cannot be written."""
    codes: dict[str, Code] = {}
    strange: list[Node] = []
    unrecorded: list[Node] = []
    lacking: list[tuple[Node, str]] = []
    for node in graph.nodes:
        if torch_op(type(node.op)) is None and not isinstance(node.op, Traced):
            unrecorded.append(node)
            continue
        try:
            made = make(node.op, graph.values(node))
        except CnnscopeError:
            strange.append(node)
            continue
        apart = bool(node.params) and owner(node) != node.name.partition("#")[0]
        if apart and isinstance(made, Module) and made.applied is not None:
            codes[node.name] = applied_to(made.applied, tuple(node.params))
        elif made.written is not None:
            codes[node.name] = made.written
        elif isinstance(node.op, Traced):
            strange.append(node)
        else:
            lacking.append((node, made.name))
    if unrecorded:
        tags = " or ".join(f"`{tag}`" for tag in dict.fromkeys(node.op.tag for node in unrecorded))
        notes = [f"`{node.name}` is `{node.op.tag}`" for node in unrecorded]
        hint = "the record of an op says how torch computes it: docs/add-an-op.md"
        raise unwritable(graph, "PyTorch", f"there is no record for torch of {tags}", notes, hint)
    if strange:
        why = f"{len(strange):,} of its ops are known by their shapes only"
        raise unwritable(graph, "PyTorch", why, described(strange), TRACED)
    if lacking:
        notes = [f"`{node.name}` is `{node.op.tag}`, which is the module `{name}`" for node, name in lacking]
        why = f"torch.nn has no {' or '.join(f'`{name}`' for name in dict.fromkeys(name for _, name in lacking))}"
        hint = "the record of an op says how a file takes such a module along: docs/add-an-op.md"
        raise unwritable(graph, "PyTorch", why, notes, hint)
    return codes


def _source(definition: Definition) -> str:
    """A definition as the file has it, without cnnscope's reasons for its remarks to the type checker."""
    return re.sub(r"(# type: ignore\[[\w-]+\]).*", r"\1", inspect.getsource(definition)).rstrip()


def _inputs(graph: Graph) -> list[str]:
    if len(graph.inputs) == 1:
        return ["x"]
    taken = {"self"}
    return [unique(name, taken) for name in graph.inputs]


def _freezing(graph: Graph, codes: Mapping[str, Code]) -> list[str]:
    """Statements that freeze the frozen weights: those of one type of module, or of modules by name."""
    weights = {key: param for key, param in graph.params.items() if not param.buffer}
    frozen = {key for key, param in weights.items() if not param.trainable}
    if not frozen:
        return []
    if len(frozen) == len(weights):
        return ["self.requires_grad_(False)"]
    kinds: dict[str, set[str]] = {}
    for node in graph.nodes:
        made = codes[node.name].construct
        if isinstance(made, Call):
            kinds.setdefault(made.callee, set()).update(node.params.values())
    kind = next((kind for kind, keys in kinds.items() if keys & weights.keys() == frozen), None)
    names = _cover(frozen, weights)
    if kind and len(names) > 1:
        return [
            "for module in self.modules():",
            f"    if isinstance(module, {kind}):",
            "        module.requires_grad_(False)",
        ]
    return [f'self.get_{what}("{name}").requires_grad_(False)' for name, what in names]


def _cover(frozen: Collection[str], weights: Collection[str]) -> list[tuple[str, str]]:
    """The outermost modules whose weights are all frozen, and the frozen weights outside of them."""
    result: dict[tuple[str, str], None] = {}
    for key in frozen:
        scopes = [key[: dot.start()] for dot in re.finditer(r"\.", key)]
        whole = (s for s in scopes if all(k in frozen for k in weights if k.startswith(f"{s}.")))
        module = next(whole, None)
        result[(module, "submodule") if module else (key, "parameter")] = None
    return sorted(result)


def _docstring(cls: Class) -> str:
    first, *others = cls.scopes
    if first.is_row:
        *names, last = (name for name, _ in cls.body.fields)
        return f"A layer of {', '.join(names)} and {last}." if names else f"A layer of {last}."
    more = f" and {len(others)} more" if others else ""
    kind = f"The `{first.kind}` block" if first.kind not in ANONYMOUS else "The block"
    return f"{kind} of `{first.path}`{more}."


def _docstring_of_file(graph: Graph, unused: Sequence[str]) -> str:
    weights = param_cost(graph.params)
    macs = known(node_costs(graph).values()).macs or 0
    sizes = " and ".join(shape_text(value.features) for value in graph.inputs.values())
    lines = [
        f"{graph.name} in PyTorch, written by cnnscope {__version__}.",
        "",
        f"{weights.params:,} parameters; {macs:,} multiply-accumulates for an input of {sizes}.",
    ]
    if unused:
        owners = list(dict.fromkeys(key.partition(".")[0] for key in unused))
        shown = ", ".join(f"`{owner}`" for owner in owners[:3]) + (" and others" if len(owners) > 3 else "")
        lines.append(f"Left out: weights that nothing uses, in {shown}.")
    return '"""' + docstring("\n".join(lines)) + '\n"""'


def _shapes(graph: Graph) -> str:
    inputs = ", ".join(f"(N, {', '.join(map(str, value.features))})" for value in graph.inputs.values())
    outputs = [f"(N, {', '.join(map(str, graph.value(name).features))})" for name in graph.outputs]
    return f"{inputs} -> {', '.join(outputs) if len(outputs) <= 3 else f'{len(outputs)} outputs by name'}."


def _imports(code: str) -> str:
    standard = [
        f"from {module} import {name}"
        for module, name, use in _STANDARD
        if re.search(rf"(?<![\w.]){name}{re.escape(use)}", code)
    ]
    third = ["import torch"] if "torch." in code else []
    third.append("from torch import Tensor, nn" if "Tensor" in code else "from torch import nn")
    third += ["from torch.nn import functional as F"] if "F." in code else []
    parts = ["from __future__ import annotations", "\n".join(standard), "\n".join(third)]
    return "\n\n".join(part for part in parts if part)
