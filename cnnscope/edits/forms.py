"""Linear forms over widths, and equations between them, solved by substitution.

A form is a constant and a coefficient for each variable. A variable is the width of one layer. An equation removes one
variable: a follower (a table or constant that takes its size from others) first, then the latest layer, so that the
name that is left is the first of the tied group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from cnnscope.errors import CnnscopeError


@dataclass(frozen=True, slots=True)
class Form:
    """``const`` + the sum of coefficient * width."""

    const: Fraction = Fraction(0)
    terms: Mapping[str, Fraction] = field(default_factory=dict)

    def __mul__(self, factor: Fraction | int) -> Form:
        return Form(self.const * factor, {name: value * factor for name, value in self.terms.items()})

    def __add__(self, other: Form) -> Form:
        terms = dict(self.terms)
        for name, value in other.terms.items():
            terms[name] = terms.get(name, Fraction(0)) + value
        return Form(self.const + other.const, {name: value for name, value in terms.items() if value})


def constant(n: int) -> Form:
    return Form(Fraction(n))


def summed(forms: Iterable[Form]) -> Form:
    return sum(forms, Form())


class ConflictError(Exception):
    """An equation that no widths satisfy; the text says which node asks for it."""


@dataclass(slots=True)
class Equations:
    """The variables with the widths they had, and what was substituted for those that follow others.

    ``why`` has, for each variable that was removed, the node that ties it.
    """

    old: dict[str, int] = field(default_factory=dict)
    followers: set[str] = field(default_factory=set)
    solved: dict[str, Form] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    def variable(self, name: str, width: int, *, follows: bool = False) -> Form:
        """A new variable, as a form."""
        self.old[name] = width
        if follows:
            self.followers.add(name)
        return Form(terms={name: Fraction(1)})

    def reduced(self, form: Form) -> Form:
        """The form in variables that are free."""
        while name := next((name for name in form.terms if name in self.solved), None):
            rest = Form(form.const, {other: value for other, value in form.terms.items() if other != name})
            form = rest + self.solved[name] * form.terms[name]
        return form

    def equal(self, a: Form, b: Form, why: str) -> None:
        """Adds the equation a = b, which the node ``why`` asks for; `ConflictError` if it cannot be."""
        rest = self.reduced(a + b * -1)
        if not rest.terms:
            if rest.const:
                raise ConflictError(why)
            return
        order = {name: i for i, name in enumerate(self.old)}
        name = max(rest.terms, key=lambda n: (n in self.followers, abs(rest.terms[n]) == 1, order[n]))
        others = {other: value for other, value in rest.terms.items() if other != name}
        self.solved[name] = Form(rest.const, others) * (-1 / rest.terms[name])
        self.why[name] = why

    def value(self, form: Form, widths: Mapping[str, int]) -> int:
        """The form for these widths of the free variables; E491 unless it is a whole number above 0."""
        form = self.reduced(form)
        result = form.const + sum(value * widths[name] for name, value in form.terms.items())
        if result.denominator != 1 or result < 1:
            raise CnnscopeError.of("E491", f"{result} channels, which is no whole number of at least 1")
        return int(result)

    @property
    def free(self) -> list[str]:
        return [name for name in self.old if name not in self.solved]
