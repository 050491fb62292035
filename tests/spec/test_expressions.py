"""Expressions against Python's own arithmetic on fractions."""

from __future__ import annotations

from fractions import Fraction

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


@pytest.mark.parametrize(
    ("text", "value"),
    [("$w", 32), ("${w}", 32), ("${ 4 * w }", 128), ("${w / 4}", 8), ("${7 // 2}", 3), ("${ratio * w}", 8.0),
     ("${w / 0.5}", 64.0), ("${w > 3}", True), ("$word", "relu"), ("${word}", "relu"), ("$kernel", [3, 3]),
     ("$flag", True), ("${w\n + 1}", 33)],
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
        ("${w * 9223372036854775807}", "a number in this expression is beyond 64 bits"),
    ],
)
def test_what_does_not_work_out(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text).evaluate(VALUES)
    assert caught.value.message == message
