"""What an audit prints: its verdict, a line for each magnitude, controls, predictions, gates; and audits compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from cnnscope.render import style
from cnnscope.render.audit import words
from cnnscope.render.audit.differences import difference_lines
from cnnscope.render.audit.words import Json
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.numbers import printable, titled
from cnnscope.render.result import Cell, DocumentReport, Result
from cnnscope.render.table import Line, Table, left, right

_FIGURES = ("agreement", "kappa", "accuracy")
_LOOK = {True: "ok", False: "FAILED", None: "not measured"}


class AuditReport(DocumentReport[Json]):
    """The ``cnnscope.audit`` document."""

    def records(self) -> list[dict[str, Cell]]:
        """One a magnitude, flat."""
        rows: list[dict[str, Cell]] = []
        for probe, found in self.document["probes"].items():
            for i, label in enumerate(found["labels"]):
                row: dict[str, Cell] = {
                    "probe": probe, "magnitude": label, "unit": found["unit"],
                    "on_grid": "yes" if found["on_grid"][i] else "no", "transforms": found["transforms"][i],
                }  # fmt: skip
                for name in (*_FIGURES, "accuracy_drop", "divergence", "probability_change"):
                    for end in ("value", "low", "high"):
                        value = found[name][i][end]
                        row[name if end == "value" else f"{name}_{end}"] = None if value is None else f"{value:.6g}"
                for name, metric in found.get("others", {}).items():
                    value = metric["each"][i]["value"]
                    row[name] = None if value is None else f"{value:.6g}"
                rows.append(row)
        return rows

    def table(self) -> Table:
        d = self.document
        others = [name for found in list(d["probes"].values())[:1] for name in found.get("others", {})]
        figures = (*right("agreement", "kappa"), *right("accuracy", rank=1), *right("divergence", rank=2),
                   *right(*map(printable, others), rank=3))  # fmt: skip
        columns = (*left("probe", "at"), *figures)
        model = d["model"]
        title = f"{titled(model['name'], model['source'])}, invariance{'' if model['trained'] else ', random weights'}"
        verdict = f"{words.VERDICTS[d['verdict']['word']]}: {printable(d['verdict']['text'])}"
        trained = printable(model["weights"]) if model["trained"] else f"random weights ({printable(model['weights'])})"
        about = f"{trained}; {words.images(d)}; {words.settings(d)}; accuracy {words.interval(d['accuracy'])}"
        intro = verdict if self.bare else f"{verdict}\n{about}"
        return Table(title, columns, tuple(self._lines()), notes=() if self.bare else tuple(self._notes()), intro=intro,
                     keys=2)  # fmt: skip

    def _lines(self) -> Iterator[Line]:
        for probe, found in self.document["probes"].items():
            for i, title in enumerate(found["titles"]):
                apart = not found["averaged"][i]
                at = f"{title} {'on the grid' if found['on_grid'][i] else 'off the grid'}" if apart else title
                figures = [words.interval(found[name][i]) for name in _FIGURES]
                figures += [words.share(found["divergence"][i]["value"])]
                figures += [words.interval(metric["each"][i]) for metric in found.get("others", {}).values()]
                yield Line((probe if i == 0 else "", at, *figures), style=style.DIM if apart else "")
            figures = [words.interval(found["summary"][name]) for name in _FIGURES]
            others = [words.interval(metric["mean"]) for metric in found.get("others", {}).values()]
            yield Line(("", "mean", *figures, "", *others), style=style.TOTAL)

    def _notes(self) -> Iterator[str]:
        d = self.document
        for probe, found in d["probes"].items():
            yield f"{probe}: {_family(found)}"
        if d["controls"]:
            yield "\ncontrols"
        for control in d["controls"]:
            look = "cannot tell" if control["passed"] is None else _LOOK[control["passed"]]
            yield f"  {look:12} {printable(control['name'])}{_measured(control)}"
        if d["predictions"]:
            yield "\nprediction from the architecture"
        for p in d["predictions"]:
            yield f"  {_agreeing(p):12} {printable(p['transform'])}: {words.prediction(p)}"
        if d["gates"]:
            yield "\ngates"
        for gate in d["gates"]:
            detail = f" ({printable(gate['detail'])})" if gate["detail"] else ""
            yield f"  {_LOOK[gate['passed']]:12} {printable(gate['expression'])}: {words.gated(gate)}{detail}"
        yield ""
        yield "95 % intervals over images; kappa is agreement beyond chance, divergence Jensen-Shannon over ln 2"
        yield "means are over magnitudes; they leave out transforms that exist only on or only off the pixel grid"


def _family(found: Json) -> str:
    """The figures of a whole family: how far agreement stays high, the worst cases, the effect of one step."""
    summary, unit = found["summary"], found["unit"]
    parts = [words.radius(radius, unit) for radius in summary["radius"]]
    held = [f"radius {', '.join(parts)}"] if parts else []
    lowest = summary["worst_transform"]
    held.append(f"unchanged under all {summary['transforms']}: {words.share(summary['worst']['value'])}")
    if lowest:
        held.append(f"worst {printable(lowest['name'])} {words.share(lowest['agreement']['value'])}")
    if summary["area"]["value"] is not None:
        held.append(f"area under kappa {words.share(summary['area']['value'])}")
    if summary["step"]:
        held.append(f"one step changes {words.share(summary['step']['change']['value'])} of the predictions")
    return "; ".join(held)


def _measured(control: Json) -> str:
    figure = "" if control["value"] is None else f": {words.small(control['value'])}"
    limit = "" if control["limit"] is None else f" (limit {words.small(control['limit'])})"
    detail = f"; {printable(control['detail'])}" if control["detail"] else ""
    return figure + limit + detail


def _agreeing(prediction: Json) -> str:
    if prediction["agrees"] is None:
        return "-" if prediction["claim"] != "exact" else "not measured"
    return "as predicted" if prediction["agrees"] else "MISMATCH"


@dataclass(frozen=True)
class CompareReport(Result):
    """Each audit's comparison with the first; at least one."""

    KINDS: ClassVar[Sequence[str]] = ("html",)

    comparisons: tuple[Json, ...]
    bare: bool = False
    verbose: bool = False

    def as_document(self) -> Json:
        return {**plain(Document(format="cnnscope.compare")), "comparisons": self.comparisons}

    def drawn(self, kind: str) -> bytes:
        """The comparisons as a page that needs no other file."""
        from cnnscope.render.audit.comparison import page

        assert kind in self.KINDS
        return page(self.comparisons, every=self.verbose).encode()

    def records(self) -> list[dict[str, Cell]]:
        rows: list[dict[str, Cell]] = []
        for comparison in self.comparisons:
            for d in comparison["differences"]:
                row: dict[str, Cell] = {
                    "a": comparison["a"]["source"], "b": comparison["b"]["source"], "probe": d["family"],
                    "magnitude": d["label"] or d["title"], "metric": d["metric"],
                }  # fmt: skip
                for name in ("a", "b", "difference"):
                    for end in ("value", "low", "high"):
                        value = d[name][end]
                        row[f"{name}_{end}"] = None if value is None else f"{value:.6g}"
                row["p_value"] = None if d["p_value"] is None else f"{d['p_value']:.3g}"
                rows.append(row)
        return rows

    def table(self) -> Table:
        first = self.comparisons[0]["a"]
        columns = (*left("probe", "metric"), *right("a", "b", "b - a", "p"))
        lines: list[Line] = []
        for comparison in self.comparisons:
            if len(self.comparisons) > 1:
                name = f"b: {printable(comparison['b']['source'])}"
                lines.append(Line((name, "", "", "", "", ""), name_style=style.TITLE))
            lines += difference_lines(comparison, every=self.verbose)
        others = ", ".join(printable(c["b"]["source"]) for c in self.comparisons)
        title = f"{others} (b) against {printable(first['source'])} (a)"
        return Table(title, columns, tuple(lines), notes=() if self.bare else tuple(self._notes()), keys=2)

    def _notes(self) -> Iterator[str]:
        for comparison in self.comparisons:
            name = f"{printable(comparison['b']['source'])}: " if len(self.comparisons) > 1 else ""
            for warning in comparison["warnings"]:
                yield f"{name}warning: {printable(warning)}"
            how = "the same images, paired" if comparison["paired"] else "independent samples"
            yield f"{name}{' and '.join(f'{n:,}' for n in comparison['images'])} images, {how}"
        yield "95 % intervals; *: without 0; p: McNemar's exact test, known where every image has one outcome"
