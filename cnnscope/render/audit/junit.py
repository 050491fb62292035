"""JUnit XML, as build servers read it: gates, controls and predictions are test cases.

https://llg.cubic.org/docs/junit/ has the elements that Jenkins and its readers agree on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from cnnscope.render.audit import words
from cnnscope.render.numbers import printable

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A test case: a ``failure`` was measured and is not good enough, an ``error`` says that the audit is wrong."""

    name: str
    outcome: Literal["passed", "failure", "error", "skipped"]
    message: str


def junit(document: Json) -> str:
    """The whole file, with a newline at its end."""
    kinds = {"gates": _gates, "controls": _controls, "predictions": _predictions}
    suites = {title: [*cases(document)] for title, cases in kinds.items()}
    if not document["complete"]:
        suites["audit"] = [Case("complete", "error", document["verdict"]["text"])]
    name = f"cnnscope audit {document['model']['name']}"
    root = ElementTree.Element("testsuites", {"name": _text(name), **_counts([c for s in suites.values() for c in s])})
    for title, cases in suites.items():
        if cases:
            _suite(root, title, cases)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, title: str, cases: list[Case]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", {"name": title, **_counts(cases)})
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", {"classname": f"audit.{title}", "name": _text(case.name)})
        if case.outcome != "passed":
            ElementTree.SubElement(element, case.outcome, {"message": _text(case.message)})
        else:
            ElementTree.SubElement(element, "system-out").text = _text(case.message)


def _gates(document: Json) -> Iterator[Case]:
    for gate in document["gates"]:
        figure = words.gated(gate)
        message = f"{figure}, bound {gate['bound']:g}" + (f"; {gate['detail']}" if gate["detail"] else "")
        yield Case(gate["expression"], "passed" if gate["passed"] else "failure", message)


_OUTCOMES: dict[bool | None, Literal["passed", "error", "skipped"]] = {True: "passed", False: "error", None: "skipped"}


def _controls(document: Json) -> Iterator[Case]:
    for control in document["controls"]:
        message = f"{words.figure(control['value'])}, limit {words.figure(control['limit'])}"
        message += f"; {control['detail']}" if control["detail"] else ""
        yield Case(control["name"], _OUTCOMES[control["passed"]], message)


def _predictions(document: Json) -> Iterator[Case]:
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


def _text(text: str) -> str:
    """XML 1.0 has no place for control characters, not even escaped."""
    return printable(text)
