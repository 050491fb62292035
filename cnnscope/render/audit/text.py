"""Reports of an audit as text: Markdown for people, JUnit XML for build servers.

https://llg.cubic.org/docs/junit/ has the elements that Jenkins and its readers agree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from cnnscope.render import table as tables
from cnnscope.render.audit import words
from cnnscope.render.audit.differences import difference_lines
from cnnscope.render.audit.words import Json
from cnnscope.render.numbers import UNKNOWN, printable
from cnnscope.render.table import Column, Line, Table


def markdown(document: Json) -> str:
    """The whole file, with a newline at its end; sections in the order of the HTML report."""
    sections = (
        _verdict, _provenance, _controls, _predictions, _probes, _layers, _classes, _baseline, _against, _methods,
    )  # fmt: skip
    return "\n\n".join(part for section in sections for part in section(document) if part) + "\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> str:
    """A table; the columns from number ``right`` on are aligned to the right."""
    columns = tuple(Column(heading, right=i >= right and bool(heading)) for i, heading in enumerate(headings))
    return tables.markdown(Table("", columns, tuple(Line(tuple(map(printable, row))) for row in rows)))


def escaped(text: str) -> str:
    """The text with everything escaped that Markdown would take for markup."""
    return "".join("\\" + c if c in "\\`*_{}[]<>()#+-.!|~" else c for c in printable(text))


def _verdict(d: Json) -> Iterator[str]:
    random = "" if d["model"]["trained"] else " of random weights"
    yield f"# {escaped(d['model']['name'])}: invariance audit{random}"
    yield f"**{words.VERDICTS[d['verdict']['word']]}** – {escaped(d['verdict']['text'])}"
    if d["gates"]:
        rows = [
            ("ok" if g["passed"] else "FAILED", g["expression"], f"{g['bound']:g}",
             words.gated(g)) for g in d["gates"]
        ]  # fmt: skip
        yield _table(("", "gate", "bound", "measured"), rows, 2)


def _provenance(d: Json) -> Iterator[str]:
    model, data = d["model"], d["data"]
    versions = ", ".join(f"{name} {version}" for name, version in d["versions"].items())
    rows = [
        ("model", f"{model['name']} ({model['source']})"),
        ("weights", f"{model['weights']}{'' if model['trained'] else ' (random)'}, sha256 {model['weights_sha256']}"),
        ("data", f"{data['path']}, sha256 {data['sha256']}"), ("images", words.images(d)),
        ("protocol", f"{words.settings(d)}, batch {d['batch_size']}, hash {d['protocol_hash']}"),
        ("result", f"hash {d['result_hash']}"), ("versions", versions),
        ("accuracy", words.interval(d["accuracy"])),
    ]  # fmt: skip
    yield "## Provenance"
    yield _table(("", ""), rows, 2)
    yield from (_table(("skipped", "reason"), [(s["file"], s["reason"]) for s in data["skipped"]], 2),) if (
        data["skipped"]) else ()  # fmt: skip
    if d["retries"]:
        yield "\n".join(f"- {escaped(retry)}" for retry in d["retries"])


def _controls(d: Json) -> Iterator[str]:
    yield "## Control validity"
    rows = [
        (words.PASSED[c["passed"]], c["name"], words.figure(c["value"]), words.figure(c["limit"]), c["detail"])
        for c in d["controls"]
    ]
    yield _table(("", "control", "value", "limit", ""), rows, 2) if rows else "No control was run."


def _predictions(d: Json) -> Iterator[str]:
    yield "## Predicted and measured"
    agrees = {True: "yes", False: "NO", None: UNKNOWN}
    rows = [
        (p["transform"], words.CLAIMS[p["claim"]], words.small(p["measured"]), agrees[p["agrees"]], p["detail"])
        for p in d["predictions"]
    ]
    yield _table(("transform", "claim", "measured", "agrees", ""), rows, 2) if rows else "Nothing was predicted."
    errors = [
        (e["layer"], e["transform"], words.figure(e["interior"]), words.figure(e["border"]),
         words.share(e["interior_share"])) for e in d["equivariance"]
    ]  # fmt: skip
    if errors:
        yield _table(("layer", "transform", "interior error", "border error", "interior share"), errors, 2)
    local = words.local(d["local_equivariance"])
    if local["rows"]:
        rows = [(row["layer"], *map(words.small, row["values"])) for row in local["rows"]]
        yield _table(("local equivariance error", *local["movements"]), rows, 1)


def _probes(d: Json) -> Iterator[str]:
    figures = ("agreement", "kappa", "accuracy")
    for name, found in d["probes"].items():
        summary, others = found["summary"], found.get("others", {})
        yield f"## {words.PROBES[name]}"
        rows = [
            (title if found["averaged"][i] else f"{title} ({'on' if found['on_grid'][i] else 'off'} the grid)",
             *(words.interval(found[figure][i]) for figure in figures),
             *(words.interval(metric["each"][i]) for metric in others.values()))
            for i, title in enumerate(found["titles"])
        ]  # fmt: skip
        means = [*(summary[figure] for figure in figures), *(metric["mean"] for metric in others.values())]
        rows.append(("mean", *map(words.interval, means)))
        yield _table(("at", *figures, *map(printable, others)), rows)
        facts = [
            ("pair consistency", words.interval(summary["consistency"])),
            (f"unchanged under all {summary['transforms']}", words.interval(summary["worst"])),
            ("right under all of them", words.interval(summary["worst_accuracy"])),
            ("area under kappa", words.interval(summary["area"])), ("wobble", words.interval(summary["wobble"])),
            *(("radius", words.radius(radius, found["unit"])) for radius in summary["radius"]),
        ]  # fmt: skip
        if summary["worst_of_10"]:
            facts.append(("worst of 10 at random", words.interval(summary["worst_of_10"])))
        if summary["worst_transform"]:
            worst = summary["worst_transform"]
            facts.append((f"worst transform: {worst['name']}", words.interval(worst["agreement"])))
        if summary["step"]:
            facts.append(("predictions changed by a step", words.interval(summary["step"]["change"])))
            facts.append(("probability moved by a step", words.interval(summary["step"]["probability_change"])))
        yield _table(("", ""), facts)


def _layers(d: Json) -> Iterator[str]:
    if not d["layers"]:
        return
    yield "## Layers"
    yield "Distance to the features of the same image, moved, over that to another image: 0 invariant, 1 as far."
    for probe in d["probes"]:
        curves = [layer for layer in d["layers"] if layer["probe"] == probe]
        rows = [(c["name"], *(words.share(e["value"]) for e in c["distance"])) for c in curves]
        if rows:
            yield _table((probe, *curves[0]["titles"]), rows)


def _classes(d: Json) -> Iterator[str]:
    if d["classes"]:
        yield "## Classes"
        rows = [
            (c["name"], f"{c['images']:,}", words.share(c["accuracy"]["value"]),
             *(words.interval(c["agreement"][probe]) for probe in d["probes"])) for c in d["classes"]
        ]  # fmt: skip
        yield _table((f"by {d['classes'][0]['by']}", "images", "accuracy", *d["probes"]), rows)


def _baseline(d: Json) -> Iterator[str]:
    if d["baseline"]:
        yield "## The same architecture with random weights"
        rows = [
            (f"{b['family']} {b['name'] if b['family'] == 'flip' else format(b['magnitude'], 'g')}",
             words.share(b["agreement"]), words.share(b["kappa"])) for b in d["baseline"]
        ]  # fmt: skip
        yield _table(("", "agreement", "kappa"), rows)


def _against(d: Json) -> Iterator[str]:
    if d["against"]:
        yield "## Against an earlier audit"
        yield "\n".join(f"- {escaped(warning)}" for warning in d["against"]["warnings"])
        rows = [line.cells for line in difference_lines(d["against"])]
        yield _table(("", "metric", "before", "now", "difference", "p"), rows, 2)


def _methods(d: Json) -> Iterator[str]:
    yield "## Methods"
    source = d["protocol"].get("source")
    yield f"Protocol {escaped(d['preset'])}" + (f": {escaped(str(source))}." if source else ".")
    yield (
        "95 % intervals: Wilson on the effective number of images for shares, 1,000 resamples of whole images for "
        "everything else. Kappa is Cohen's. Transforms on the pixel grid are not averaged with others. Unknown is `?`."
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A test case: a ``failure`` was measured and is not good enough, an ``error`` says that the audit is wrong."""

    name: str
    outcome: Literal["passed", "failure", "error", "skipped"]
    message: str


def junit(document: Json) -> str:
    """The whole file, with a newline at its end. XML 1.0 allows no control characters, so texts are made printable."""
    kinds = {"gates": _gate_cases, "controls": _control_cases, "predictions": _prediction_cases}
    suites = {title: [*cases(document)] for title, cases in kinds.items()}
    if not document["complete"]:
        suites["audit"] = [Case("complete", "error", document["verdict"]["text"])]
    name = f"cnnscope audit {document['model']['name']}"
    root = ElementTree.Element(
        "testsuites", {"name": printable(name), **_counts([c for s in suites.values() for c in s])}
    )
    for title, cases in suites.items():
        if cases:
            _suite(root, title, cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, title: str, cases: list[Case]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", {"name": title, **_counts(cases)})
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", {"classname": f"audit.{title}", "name": printable(case.name)}
        )
        if case.outcome != "passed":
            ElementTree.SubElement(element, case.outcome, {"message": printable(case.message)})
        else:
            ElementTree.SubElement(element, "system-out").text = printable(case.message)


def _gate_cases(document: Json) -> Iterator[Case]:
    for gate in document["gates"]:
        figure = words.gated(gate)
        message = f"{figure}, bound {gate['bound']:g}" + (f"; {gate['detail']}" if gate["detail"] else "")
        yield Case(gate["expression"], "passed" if gate["passed"] else "failure", message)


_OUTCOMES: dict[bool | None, Literal["passed", "error", "skipped"]] = {True: "passed", False: "error", None: "skipped"}


def _control_cases(document: Json) -> Iterator[Case]:
    for control in document["controls"]:
        message = f"{words.figure(control['value'])}, limit {words.figure(control['limit'])}"
        message += f"; {control['detail']}" if control["detail"] else ""
        yield Case(control["name"], _OUTCOMES[control["passed"]], message)


def _prediction_cases(document: Json) -> Iterator[Case]:
    for prediction in document["predictions"]:
        message = f"{words.CLAIMS[prediction['claim']]}; measured {words.small(prediction['measured'])}"
        message += f"; {prediction['detail']}" if prediction["detail"] else ""
        wrong = prediction["claim"] == "exact" and prediction["agrees"] is False
        outcome: Literal["passed", "error", "skipped"] = "error" if wrong else "passed"
        yield Case(prediction["transform"], "skipped" if prediction["measured"] is None else outcome, message)


def _counts(cases: list[Case]) -> dict[str, str]:
    kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {key: str(sum(case.outcome == kind for case in cases)) for key, kind in kinds.items()}
    return {"tests": str(len(cases)), **counts}
