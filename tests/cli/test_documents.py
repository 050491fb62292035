"""JSON documents: valid against the published schema, and consistent in themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from commands import Run
from documents import SCHEMA, undeclared, valid, validator
from jsonschema import Draft7Validator

COMMANDS = {
    "summary": ("summary", "blocks.yaml"), "shapes": ("shapes", "blocks.yaml"), "params": ("params", "blocks.yaml"),
    "flops": ("flops", "blocks.yaml"), "memory": ("memory", "blocks.yaml"), "rf": ("rf", "blocks.yaml"),
    "comparison": ("summary", "lenet5", "unet"), "rf_unit": ("rf", "blocks.yaml", "--unit", "logits.linear1"),
    "expand": ("expand", "blocks.yaml"), "zoo": ("zoo",), "check": ("check", "lenet5"), "ops": ("ops",),
    "ablation": ("ablate", "lenet5", "--remove", "s2", "--remove", "c5,f6"),
    "edit": ("edit", "lenet5", "--set", "c3.kernel=3", "--width", "c1=8"),
    "transfer": ("transfer", "lenet5", "--classes", "30", "--freeze", "c1"),
    "op": ("ops", "conv"), "equivariance": ("equivariance", "blocks.yaml"),
}  # fmt: skip


def document(run: Run, *words: str) -> Any:
    outcome = run(*words, "-f", "json")
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


def test_the_schema_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", COMMANDS)
def test_documents_keep_the_contract(run: Run, name: str) -> None:
    found = document(run, *COMMANDS[name])
    assert found["format"] == f"cnnscope.{name}"
    valid(found)
    assert not undeclared(found, ("args", "schema", "spec", "changes"))


@pytest.mark.parametrize("source", ["densenet121", "siamese", "vit_tiny", "inception_v3", "unet", "mlp-200", "m5"])
def test_networks_of_every_make_keep_the_contract(run: Run, source: str) -> None:
    validator("summary").validate(document(run, "summary", source))


def test_a_wrong_document_is_noticed(run: Run) -> None:
    found = document(run, "summary", "lenet5")
    del found["layers"][0]["params"]
    assert not validator("summary").is_valid(found)
    assert not validator().is_valid({**found, "format": "cnnscope.else"})


@pytest.mark.parametrize("level", ["layer", "op"])
@pytest.mark.parametrize("source", ["blocks.yaml", "siamese", "inception_v3"])
def test_rows_add_up_to_totals_at_every_level(run: Run, source: str, level: str) -> None:
    found = document(run, "summary", source, "--level", level)
    for key in ("params", "trainable_params", "frozen_params", "buffers", "param_bytes", "macs", "flops",
                "activation_bytes"):  # fmt: skip
        assert sum(layer[key] for layer in found["layers"]) == found["totals"][key]
    assert max(layer["live_bytes"] or 0 for layer in found["layers"]) == found["totals"]["peak_activation_bytes"]
    assert found["totals"]["layers"] == len(found["layers"])


def test_totals_do_not_depend_on_the_level(run: Run) -> None:
    layers, ops = (document(run, "summary", "blocks.yaml", "--level", level)["totals"] for level in ("layer", "op"))
    assert {**layers, "layers": 0} == {**ops, "layers": 0}


def test_shared_weights_are_counted_once_and_marked(run: Run) -> None:
    layers = document(run, "summary", "siamese")["layers"]
    shared = [layer for layer in layers if layer.get("shared")]
    assert shared
    assert all(layer["params"] == 0 and layer["macs"] > 0 for layer in shared)


def test_batch_scales_activations_alone(run: Run) -> None:
    one, eight = (document(run, "summary", "blocks.yaml", "--batch-size", n)["totals"] for n in ("1", "8"))
    scaled = {"activation_bytes", "peak_activation_bytes"}
    assert {key: 8 * one[key] if key in scaled else one[key] for key in one} == eight


def test_half_precision_halves_bytes(run: Run) -> None:
    whole, half = (document(run, "summary", "lenet5", "--dtype", d)["totals"] for d in ("float32", "float16"))
    for key in ("param_bytes", "activation_bytes", "peak_activation_bytes"):
        assert whole[key] == 2 * half[key]


def test_shapes_stay_channel_first_in_json_whatever_the_author_writes(run: Run) -> None:
    found = document(run, "shapes", "blocks.yaml")
    assert found["model"]["inputs"][0]["shape"] == [3, 24, 32]
    assert found["layers"][0]["output_shape"] == [8, 24, 32]


def test_exact_fields_stay_inside_the_image(run: Run) -> None:
    for layer in document(run, "rf", "blocks.yaml")["layers"]:
        if exact := layer["receptive_field"].get("exact"):
            low, high, size = exact["min"], exact["max"], layer["receptive_field"]["size"]
            assert all(0 < a <= b <= min(n, s) for a, b, n, s in zip(low, high, (24, 32), size, strict=True))


def test_published_schemas_are_printed(run: Run) -> None:
    outcome = run("schema", "summary")
    printed = json.loads(outcome.out)
    Draft7Validator.check_schema(printed)
    assert Draft7Validator(printed).is_valid(document(run, "summary", "lenet5"))
    assert not Draft7Validator(printed).is_valid(document(run, "shapes", "lenet5"))
    assert run("schema", "sumary").err == (
        "error[E408]: no document is called `sumary`\n  = help: did you mean `summary`?\n"
    )


def test_the_language_has_a_schema_that_its_own_flat_form_keeps(run: Run) -> None:
    printed = json.loads(run("schema").out)
    Draft7Validator.check_schema(printed)
    for source in ("blocks.yaml", "unet", "vit_tiny"):
        spec = document(run, "expand", source)["spec"]
        Draft7Validator(printed).validate(spec)
        assert not Draft7Validator(printed).is_valid({**spec, "layer": []})
