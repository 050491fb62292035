"""What a page says in the browser: its console, its errors, and whatever it asks of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from playwright.sync_api import Page


@dataclass
class Opened:
    """A page in the browser and what went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def settled(self) -> None:
        """Nothing on the console, no error, no request for anything but the file itself and what it embeds."""
        assert self.complaints == []


Open = Callable[..., Opened]
