"""The command ``edit``: a network with other arguments, layers, widths or sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Format, Writing
from cnnscope.errors import CnnscopeError
from cnnscope.options.edit import ScaleOptions
from cnnscope.options.group import Option, group

if TYPE_CHECKING:
    from cnnscope.edits.change import Change


@group("Changes")
class ChangeOptions:
    """What is changed, in the order in which it is done."""

    set: Annotated[
        list[str] | None,
        Option(
            "Another argument of the layers of this name or pattern: conv1.stride=1, layer4.[12].conv2.dilation=2. "
            "Without a dot it sets a parameter of the spec or of the factory.",
            metavar="LAYER.ARG=VALUE",
        ),
    ] = None
    width: Annotated[
        list[str] | None, Option("Other channels of a layer, and of all that are tied to it.", metavar="LAYER=N")
    ] = None
    alone: Annotated[bool, Option("Refuse a width that is tied to others.")] = False
    swap: Annotated[
        list[str] | None,
        Option("Layers of another type: maxpool=blurpool, batchnorm=groupnorm:8.", metavar="A=B[:ARGS]"),
    ] = None
    within: Annotated[str, Option("Swap only in the layers of this pattern.", flags=("--in",), metavar="PATTERN")] = "*"
    remove: Annotated[list[str] | None, Option("Layers or groups to leave out.", metavar="A,B,...")] = None
    insert: Annotated[
        list[str] | None,
        Option("A new layer behind another one: after=layer1:conv{out: 64, kernel: 3}.", metavar="after=LAYER:OP{...}"),
    ] = None
    input: Annotated[list[str] | None, Option("Another size of the input: 3x96x96, left=3x64x64.", metavar="SIZE")] = (
        None
    )

    @property
    def settings(self) -> list[str]:
        """The texts of ``--set`` that are for the source."""
        return [text for text in self.set or () if "." not in text.partition("=")[0]]

    def changes(self) -> list[Change]:
        """The changes; E406 for a text that is none."""
        from cnnscope.api import resizes
        from cnnscope.cli.architecture import parse_names
        from cnnscope.edits.change import Remove
        from cnnscope.edits.parse import parse_insert, parse_set, parse_swap, parse_width
        from cnnscope.sources.inputs import parse_inputs

        return [
            *resizes(tuple(parse_inputs(self.input or ()))),
            *(Remove(parse_names(text)) for text in self.remove or ()),
            *(parse_swap(text, self.within) for text in self.swap or ()),
            *(parse_insert(text) for text in self.insert or ()),
            *(parse_set(text, alone=self.alone) for text in self.set or () if text not in self.settings),
            *(parse_width(text, alone=self.alone) for text in self.width or ()),
        ]


@group("Output")
class EditWriting(Writing):
    """Where a changed network is written."""

    KINDS: ClassVar[Sequence[str]] = ("yaml", "yml", "py", "onnx")

    @property
    def picture(self) -> Path | None:
        """The file to write the network or the changes into; None where text is asked for."""
        from cnnscope.render.edit import written_as

        return self.output if self.output is not None and written_as(self.output) is not None else None


@flat(output="Write the network: net.yaml, net.py, net.onnx, graph.json; changes.json has the changes alone.")
def edit(source: o.Source, options: ChangeOptions, scaling: ScaleOptions, writing: EditWriting) -> int:
    """Change a network and say what follows: arguments, widths, layers, sizes. All changes are made at once."""
    from cnnscope.edits.options import scale_of
    from cnnscope.render.edit import edited

    changes = options.changes()
    if scaling.scale is not None:
        s = scaling
        changes.append(scale_of(scaling.scale, s.round, s.keep_ratio, s.only or (), s.exclude or (), s.heads))
    if not changes:
        raise CnnscopeError.of("E400", "nothing is changed", hint="say what: `--set conv1.stride=1`, `--scale 0.5`")
    loading = replace(o.Loading(), set=options.settings)
    model = loading.load(source)
    report = edited(model.graph, source, changes)
    if report.broken is not None:
        error = report.error()
        if writing.form is not Format.json or writing.output is not None:
            raise error
        writing.emit(report)
        return error.exit_code
    writing.deliver(report)
    return 0
