"""``--sort`` and ``--top``: what comes first, what is hidden, and what stays: totals, and every row of JSON."""

from __future__ import annotations

import json
import re

import pytest
from commands import Run

KEYS = {"summary": "macs", "params": "params", "flops": "flops", "memory": "activation_bytes"}


def documents(run: Run, *words: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(run(*words, "-f", "json").out)
    return found


@pytest.mark.parametrize("verb", KEYS)
@pytest.mark.parametrize("network", ["googlenet", "unet"])
def test_the_largest_come_first(run: Run, verb: str, network: str) -> None:
    key = KEYS[verb]
    plain, found = (documents(run, verb, network, *words) for words in ((), ("--sort", key, "--top", "7")))
    rows, before = found["layers"], plain["layers"]
    assert [row[key] for row in rows] == sorted((row[key] for row in before), reverse=True)  # type: ignore[union-attr, index]
    assert sorted(row["name"] for row in rows) == sorted(row["name"] for row in before)  # type: ignore[union-attr, index]
    assert found["totals"] == plain["totals"]
    lines = run(verb, network, "--sort", key, "--top", "7", "-q").out.splitlines()
    assert [line.split()[0] for line in lines if line][-8:-1] == [row["name"] for row in rows][:7]  # type: ignore[union-attr, index]
    total = next(line for line in run(verb, network).out.splitlines() if line.startswith("total"))
    (last,) = (line for line in lines if line.startswith("total"))
    assert last.startswith(f"total, {len(rows) - 7} rows hidden")  # type: ignore[arg-type]
    assert re.findall(r"[\d,.]+ ?[KMG]?i?B?", last.partition("hidden")[2]) == re.findall(
        r"[\d,.]+ ?[KMG]?i?B?", total.removeprefix("total")
    )


def test_receptive_fields_and_shapes_are_sorted_by_their_size(run: Run) -> None:
    lines = run("rf", "alexnet", "--sort", "rf", "-q", "--columns", "rf,name").out.split("\n")
    fields = [line.split()[0] for line in lines if re.match(r" *(\d+x\d+|image)", line)]
    assert fields[0] == "image"
    sizes = [int(text.split("x")[0]) for text in fields if text != "image"]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 10
    assert "13 rows hidden" in run("shapes", "alexnet", "--top", "3").out
    first = run("shapes", "alexnet", "--top", "1", "-q").out
    assert "96x55x55" in first


def test_folded_groups_and_several_networks_are_sorted_too(run: Run) -> None:
    lines = run("flops", "resnet50", "--depth", "1", "--sort", "macs", "--top", "2", "-q").out
    assert "rows hidden" in lines
    names = [
        line.split()[0] for line in run("flops", "lenet5", "vgg11", "resnet18", "--sort", "macs").out.split("\n")[1:4]
    ]
    assert names == ["vgg11", "resnet18", "lenet5"]
    assert "2 networks hidden" in run("params", "lenet5", "vgg11", "resnet18", "--top", "1").out


def test_what_cannot_be_sorted_is_refused(run: Run) -> None:
    outcome = run("flops", "lenet5", "--sort", "mac")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error[E402]: no column is called `mac`\n  = help: did you mean `macs`?\n"
    assert run("flops", "lenet5", "--top", "0").code == 2
    assert "E409" in run("rf", "lenet5", "--unit", "c3:1,1", "--top", "3").err
    assert "E402" in run("zoo", "lenet5", "--sort", "flops").err


def test_the_zoo_by_name_pattern_and_letters(run: Run) -> None:
    def names(*words: str) -> list[str]:
        return [model["name"] for model in documents(run, "zoo", *words)["models"]]  # type: ignore[attr-defined, index]

    assert names("alexnet") == ["alexnet", "alexnet-torchvision"]
    assert names("vgg1?") == ["vgg11", "vgg13", "vgg16", "vgg19"]
    assert names("ResNet18", "vgg11") == ["resnet18", "vgg11"]
    assert names("vgg1?", "--sort", "params", "--top", "1") == ["vgg19", "vgg16", "vgg13", "vgg11"]
    assert run("zoo", "vgg1?", "--top", "1").out.splitlines()[-2:][0].startswith("3 models hidden")
    outcome = run("zoo", "resnet5O")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(
        "error[E401]: no model of the zoo matches `resnet5O`\n  = help: did you mean `resnet50`"
    )
    assert "lists all models" in run("zoo", "*q?x*").err
    assert run("zoo", "").code == 2
