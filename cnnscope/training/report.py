"""The report of a transfer: the plan, its ways of training side by side, and the score of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cnnscope.analysis.cost import precision
from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.documents.network import Conventions, Model
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table
from cnnscope.training import document
from cnnscope.training.plan import Part, Plan, Strategy


@dataclass(frozen=True)
class TransferReport(Result):
    """The ``cnnscope.transfer`` document. ``graph`` is the network as it was; ``training`` is None for a plan alone."""

    graph: Graph
    source: str
    plan: Plan
    training: document.TrainingRun | None = None
    verbose: bool = False
    bare: bool = False

    def as_document(self) -> Document:
        plan = self.plan
        head = document.NewHead(
            layer=plan.head, op=plan.new.op.tag, classes_before=_out(plan.old.op), classes=plan.classes,
            params=self._head_params,
        )  # fmt: skip
        return document.TransferDocument(
            conventions=Conventions(batch=plan.batch),
            model=Model.of(self.graph, self.source),
            head=head,
            strategies=[_strategy(strategy) for strategy in plan.strategies],
            training=self.training,
        )

    @property
    def _head_params(self) -> int:
        return sum(self.plan.graph.params[key].numel for key in self.plan.new.params.values())

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"strategy": s.name, **{key: figure.of(s) for key, figure in FIGURES.items()}} for s in self.plan.strategies
        ]

    def table(self) -> Table:
        strategies = self.plan.strategies
        layers = [Line((layer, *(s.layers[layer] for s in strategies))) for layer in strategies[0].layers]
        told = [f for f in FIGURES.values() if not f.rare or any(map(f.of, strategies))]
        figures = [Line((f.heading, *(_cell(f, s) for s in strategies))) for f in told]
        parts = [Line((word, *(_layers(s, word) for s in strategies))) for word in PARTS if _any(strategies, word)]
        return Table(
            title="" if self.bare else self._title(),
            columns=(Column(f"batch {self.plan.batch}"), *(Column(s.name, right=True) for s in strategies)),
            lines=(*(layers if self.verbose else parts), *figures),
            notes=() if self.bare else tuple(self._notes()),
            intro="" if self.bare else self._intro(),
        )

    def _title(self) -> str:
        name = f"{numbers.printable(self.graph.name)} ({numbers.printable(self.source)})"
        return f"{name} for {self.plan.classes} classes"

    def _intro(self) -> str:
        old, new = self.plan.old.op, self.plan.new.op
        return (
            f"head {self.plan.head}: {old.tag} {old.label()} is replaced by {new.tag} {new.label()}, "
            f"{numbers.count(self._head_params)} parameters; everything else is kept"
        )

    def _notes(self) -> list[str]:
        estimated = dict.fromkeys(name for s in self.plan.strategies for name in s.memory.estimated)
        unknown = dict.fromkeys(name for s in self.plan.strategies for name in s.work.unknown)
        notes = [] if self.training is None else _run(self.training)
        if estimated:
            notes.append(f"estimated, as inputs and output kept: {', '.join(estimated)}")
        if unknown:
            notes.append(f"not supported, so MACs are lower bounds: {', '.join(unknown)}")
        return [*notes, f"bytes at {precision(self.plan.graph)}; {CONVENTION}"]


CONVENTION = (
    "kept = tensors autograd saves for the backward pass, each once, the loss apart; "
    "total = weights, gradients, optimizer state, activations at the peak of the forward pass; MACs an image: "
    "the backward pass repeats a layer's for the gradient of its weights and for that of its input, where needed"
)
PARTS: tuple[Part, ...] = ("new", "trained", "frozen", "unused")


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table: its heading, a strategy's number, and how it is written.

    A ``bound`` is a lower bound if some ops are not supported. A ``rare`` line is left out if all its numbers are 0.
    """

    heading: str
    of: Callable[[Strategy], int]
    text: Callable[[int | None], str] = numbers.binary
    bound: bool = False
    rare: bool = False


FIGURES: dict[str, Figure] = {
    "trained_params": Figure("parameters trained", lambda s: s.cost.trainable, numbers.count),
    "frozen_params": Figure("parameters frozen", lambda s: s.frozen, numbers.count),
    "unused_params": Figure("parameters unused", lambda s: s.unused, numbers.count, rare=True),
    "weight_bytes": Figure("weights, buffers", lambda s: s.weight_bytes),
    "gradient_bytes": Figure("gradients", lambda s: s.gradient_bytes),
    "sgd_momentum_bytes": Figure("state of SGD, momentum", lambda s: s.sgd_bytes),
    "adamw_bytes": Figure("state of AdamW", lambda s: s.adamw_bytes),
    "kept_activation_bytes": Figure("activations kept", lambda s: s.memory.kept),
    "peak_activation_bytes": Figure("activations at the peak", lambda s: s.memory.peak),
    "total_sgd_momentum_bytes": Figure("total, SGD", lambda s: s.total_bytes(s.sgd_bytes)),
    "total_adamw_bytes": Figure("total, AdamW", lambda s: s.total_bytes(s.adamw_bytes)),
    "forward_macs": Figure("MACs forward", lambda s: s.work.forward, numbers.count, bound=True),
    "frozen_macs": Figure("of these, frozen", lambda s: s.work.frozen, numbers.count, bound=True),
    "backward_macs": Figure("MACs backward", lambda s: s.work.backward, numbers.count, bound=True),
}  # fmt: skip


def _cell(figure: Figure, strategy: Strategy) -> str:
    lower = ">= " if figure.bound and strategy.work.unknown else ""
    return lower + figure.text(figure.of(strategy))


def _any(strategies: tuple[Strategy, ...], part: Part) -> bool:
    return any(part in s.layers.values() for s in strategies)


def _layers(strategy: Strategy, part: Part) -> str:
    """The number of layers, or the name of the only one."""
    names = [layer for layer, found in strategy.layers.items() if found == part]
    if len(names) == 1:
        return f"layer {names[0]}" if names[0].isdigit() else names[0]
    return f"{len(names):,} layers" if names else ABSENT


def _run(run: document.TrainingRun) -> list[str]:
    """A run of training in words."""
    epochs = f"{run.epochs} epoch{'s' * (run.epochs > 1)}"
    features = "; features were computed once" if run.features_cached else ""
    score = f"{100 * run.accuracy.value:.1f} % ({run.correct:,} of {run.held_out:,})"
    low, high = 100 * run.accuracy.low, 100 * run.accuracy.high
    return [
        f"trained    {run.strategy}: {run.trained_on:,} images, {epochs} of AdamW at {run.learning_rate:g}, "
        f"batches of {run.batch_size}, seed {run.seed}, on {run.device}{features}",
        f"from       {numbers.printable(run.weights)}",
        f"loss       {run.losses[0]:.4f} in the first epoch, {run.losses[-1]:.4f} in the last",
        f"held out   {score} right, {low:.1f} to {high:.1f} % with 95 % confidence; "
        f"always the most frequent class: {100 * run.chance:.1f} %",
        f"split      {run.split}" + (f"; {run.skipped} unreadable left out" if run.skipped else ""),
        "",
    ]  # fmt: skip


def _strategy(strategy: Strategy) -> document.TransferStrategy:
    return document.TransferStrategy(
        name=strategy.name,
        layers=[document.TrainedLayer(name=layer, part=part) for layer, part in strategy.layers.items()],
        cost=document.TransferCost(**{key: figure.of(strategy) for key, figure in FIGURES.items()}),
        buffers=strategy.cost.buffers,
        estimated=strategy.memory.estimated,
        unsupported=strategy.work.unknown,
        lower_bound=bool(strategy.work.unknown),
    )


def _out(op: object) -> int:
    found = getattr(op, "out", None)
    assert isinstance(found, int)
    return found
