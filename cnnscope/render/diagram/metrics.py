"""Advance widths of DejaVu Sans, so that figures are laid out alike on every machine, whatever fonts it has.

Thousandths of an em, read from the fonts that matplotlib carries; the order is that of `CHARACTERS`.
"""

from __future__ import annotations

CHARACTERS = "".join(map(chr, range(32, 127))) + "×·…→\N{MINUS SIGN}‖½\N{EN DASH}"
_REGULAR = """
318 401 460 838 636 950 780 275 390 390 500 838 318 361 318 337 636 636 636 636 636 636
636 636 636 636 337 337 838 838 838 531 1000 684 686 698 770 632 575 775 752 295 295 656
557 863 748 787 603 787 695 635 611 732 684 989 685 611 685 390 337 390 838 500 500 613
635 550 635 615 352 635 634 278 278 579 278 974 634 612 635 635 411 521 392 634 592 818
592 592 525 636 337 636 838 838 318 1000 838 838 500 969 500
"""
_BOLD = """
348 456 521 838 696 1002 872 306 457 457 523 838 380 415 380 365 696 696 696 696 696 696
696 696 696 696 400 400 838 838 838 580 1000 774 762 734 830 683 683 821 837 372 372 775
637 995 837 850 733 850 770 720 682 812 774 1103 771 724 725 457 365 457 838 500 500 675
716 593 716 678 435 716 712 343 343 665 343 1042 712 687 716 716 493 595 478 712 652 924
645 652 582 712 365 712 838 838 380 1000 838 838 500 1035 500
"""
TABLES = {
    bold: dict(zip(CHARACTERS, map(int, widths.split()), strict=True))
    for bold, widths in ((False, _REGULAR), (True, _BOLD))
}
OTHER = 700
"""For a character that is not in the tables."""
WIDE = 1000
"""For one of a script whose characters are as wide as high."""


def width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of one line of text in points, at a size in points."""
    table = TABLES[bold]
    return sum(table.get(one, WIDE if ord(one) > 0x2E80 else OTHER) for one in text) * size / 1000
