"""Expressions against Python's own arithmetic on fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnscope.spec.expressions import MAX_DEPTH, MAX_LENGTH, ExpressionError, is_expression, parse

VALUES = {"w": 32, "depth": 3, "zero": 0, "ratio": 0.25, "word": "relu", "flag": True, "kernel": [3, 3]}

LEAVES = st.one_of(st.integers(0, 20).map(str), st.sampled_from(["w", "depth", "zero"]))
TEXTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"-{text}"),
    ),
    max_leaves=8,
)


@given(TEXTS)
def test_arithmetic_is_exact_or_an_error(text: str) -> None:
    numbers = {name: Fraction(value) for name, value in VALUES.items() if type(value) is int}
    literals = "".join(f"Fraction({part})" if part.isdigit() else part for part in split(text))
    try:
        expected = eval(literals, {"__builtins__": {}, "Fraction": Fraction}, numbers)  # our own text, as an oracle
    except ZeroDivisionError:
        expected = None
    refusal = None
    try:
        result = parse("${" + text + "}").evaluate(VALUES)
    except ExpressionError as error:
        refusal = error.message
    if refusal is None:
        assert isinstance(result, int)
        assert result == expected
    else:
        reasons = ("not a whole number", "divides by zero", "nests deeper", "characters")
        assert any(reason in refusal for reason in reasons)


def split(text: str) -> list[str]:
    """Runs of digits, and everything between them."""
    parts = [""]
    for character in text:
        if parts[-1] and parts[-1][-1].isdigit() != character.isdigit():
            parts.append("")
        parts[-1] += character
    return parts


@given(TEXTS, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), st.integers(0, 50))
def test_one_comparison(text: str, operator: str, bound: int) -> None:
    try:
        number = parse("${" + text + "}").evaluate(VALUES)
        result = parse("${" + f"{text} {operator} {bound}" + "}").evaluate(VALUES)
    except ExpressionError:
        return
    assert result is {
        "<": number < bound, "<=": number <= bound, "==": number == bound, "!=": number != bound,
        ">": number > bound, ">=": number >= bound,
    }[operator]  # fmt: skip


@given(st.integers(1, 4000), st.sampled_from([0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.1, 1.3, 1.4, 2.0]), st.integers(1, 32))
def test_channels_round_as_the_mobilenets_round_them(
    torchvision: ModuleType, channels: int, width: float, n: int
) -> None:
    divisible = torchvision.models._utils._make_divisible
    found = parse("${round(width * c, n)}").evaluate({"width": width, "c": channels, "n": n})
    assert found == divisible(channels * width, n)
    assert type(found) is int


@given(st.lists(st.one_of(st.integers(-99, 99), st.floats(-99, 99)), min_size=2, max_size=5))
def test_the_other_functions_are_those_of_python(numbers: list[float]) -> None:
    names = {f"x{i}": number for i, number in enumerate(numbers)}
    for function in (min, max):
        assert parse(f"${{{function.__name__}({', '.join(names)})}}").evaluate(names) == function(numbers)
    assert parse("${ceil(x0)}").evaluate(names) == math.ceil(numbers[0])


def test_a_result_without_a_fraction_is_a_whole_number() -> None:
    for text in ("${64 * ratio}", "${ratio * 4 + 1}", "${ceil(ratio)}", "${7 * ratio // 1}", "${max(ratio, 2.0)}"):
        assert type(parse(text).evaluate(VALUES)) is int
    assert parse("${ratio * 5}").evaluate(VALUES) == 1.25


@pytest.mark.parametrize(
    ("text", "value"),
    [("$w", 32), ("${w}", 32), ("${ 4 * w }", 128), ("${w / 4}", 8), ("${7 // 2}", 3), ("${ratio * w}", 8.0),
     ("${w / 0.5}", 64.0), ("${w > 3}", True), ("$word", "relu"), ("${word}", "relu"), ("$kernel", [3, 3]),
     ("$flag", True), ("${w\n + 1}", 33), ("${round(0.35 * w, 8)}", 16), ("${round(3, 8)}", 8), ("${round(w, w)}", 32),
     ("${min(w, depth) + max(1, 2, ratio)}", 5), ("${ceil(2.1 * depth) > 6}", True), ("${7.5 // 2}", 3)],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    assert is_expression(text)
    assert parse(text).evaluate(VALUES) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$", "`$` is not an expression"),
        ("$3", "`$3` is not an expression"),
        ("2 * $w", "`2 * $w` is not an expression"),
        ("${w} + 1", "`${w} + 1` is not an expression"),
        ("${}", "the expression is empty"),
        ("${w +}", "`w +` is not an expression"),
        ("${w ** 2}", "`w ** 2` has no place in an expression"),
        ("${w % 2}", "`w % 2` has no place in an expression"),
        ("${not w}", "`not w` has no place in an expression"),
        ("${w and w}", "`w and w` has no place in an expression"),
        ("${1 < w < 3}", "`1 < w < 3` has no place in an expression"),
        ("${(w > 3) + 1}", "`w > 3` has no place in an expression"),
        ("${w if w else 1}", "`w if w else 1` has no place in an expression"),
        ("${w.real}", "`w.real` has no place in an expression"),
        ("${kernel[0]}", "`kernel[0]` has no place in an expression"),
        ("${__import__('os')}", "`__import__('os')` has no place in an expression"),
        ("${[w for w in w]}", "`[w for w in w]` has no place in an expression"),
        ("${'a'}", "`'a'` has no place in an expression"),
        ("${True}", "`True` has no place in an expression"),
        ("${1j}", "`1j` has no place in an expression"),
        ("${(x := 1)}", "`x := 1` has no place in an expression"),
        ("${9223372036854775808}", "a number in this expression is beyond 64 bits"),
        ("${1e400}", "a number in this expression is beyond 64 bits"),
        ("${" + "+".join(["1"] * (MAX_DEPTH + 2)) + "}", f"the expression nests deeper than {MAX_DEPTH} operations"),
        ("${" + "1" * MAX_LENGTH + "}", f"an expression of {MAX_LENGTH + 3} characters; at most {MAX_LENGTH} are read"),
        ("${round(w)}", "`round` takes 2 arguments but gets 1"),
        ("${min(w)}", "`min` takes at least 2 arguments but gets 1"),
        ("${ceil(w, 8)}", "`ceil` takes 1 argument but gets 2"),
        ("${max(*w, 8)}", "`*w` has no place in an expression"),
        ("${round(w, n=8)}", "`round(w, n=8)` has no place in an expression"),
        ("${round(w, 8)(1)}", "`round(w, 8)(1)` has no place in an expression"),
        ("${pow(w, 8)}", "`pow(w, 8)` has no place in an expression"),
        ("${max(w > 3, 1)}", "`w > 3` has no place in an expression"),
        ("${w\0}", "`w\0` is not an expression"),
    ],
)
def test_what_is_no_expression(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${w / 3}", "`w / 3` is 32 / 3, not a whole number"),
        ("${2 + w / (depth - 3)}", "`w / (depth - 3)` divides by zero"),
        ("${word * 2}", "`word` is `relu` here, not a number"),
        ("${flag + 1}", "`flag` is true here, not a number"),
        ("${round(0 - w, 8)}", "`round` is for a number >= 0 and a whole number >= 1, not -32 and 8"),
        ("${round(w, zero)}", "`round` is for a number >= 0 and a whole number >= 1, not 32 and 0"),
        ("${round(w, 1.5)}", "`round` is for a number >= 0 and a whole number >= 1, not 32 and 1.5"),
        ("${min(w, word)}", "`word` is `relu` here, not a number"),
        ("${w * 9223372036854775807}", "a number in this expression is beyond 64 bits"),
    ],
)
def test_what_does_not_work_out(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text).evaluate(VALUES)
    assert caught.value.message == message
