"""HTML pages for people: each is one file that needs nothing else, no network and no script.

The templates beside this file share one base, one style and one set of parts; what is put into them is escaped.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup, escape

from activities.version import VERSION

if TYPE_CHECKING:
    from jinja2 import Environment


class Tone(StrEnum):
    """How something stands, at one glance; always shown with words and a shape of its own, never by colour alone."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"
    GREY = "grey"


Icon = Literal["check", "warning", "cross", "barred", "waits", "runs", "back"]

ICONS: dict[Tone, Icon] = {Tone.GREEN: "check", Tone.AMBER: "warning", Tone.RED: "cross", Tone.GREY: "barred"}
"""The shape that goes with a tone, where nothing says more."""


@dataclass(frozen=True)
class Verdict:
    """What a page says first.

    Args:
        tone: How it stands.
        title: In a few words, as the end of a sentence about what was done.
        says: In one or two sentences.
        icon: The shape beside the title.
    """

    tone: Tone
    title: str
    says: str
    icon: Icon


def render(template: str, **contents: Any) -> str:
    """A page.

    Args:
        template: The template's name.
        contents: What it is given; escaped where it is put in.
    """
    return _environment().get_template(template).render(version=VERSION, **contents)


def number(value: int | float | None) -> str:
    """A count, with its thousands apart; of a measure that is missing, a dash."""
    return "–" if value is None else f"{value:,.0f}"


def moment(at: datetime | None) -> str:
    """A point in time, to the second, in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else "not yet"


def took(seconds: float | None) -> str:
    """A duration in its two largest units."""
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // 86_400, whole // 3_600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def counted(count: int, one: str, many: str) -> str:
    """A count with its noun: ``1 place``, ``1,200 places``."""
    return f"{count:,} {one if count == 1 else many}"


def upper_first(text: str) -> str:
    """A text as the beginning of a sentence; the rest of it as it is."""
    return text[:1].upper() + text[1:]


def words(text: str) -> Markup:
    """A text with what stands between backticks set as code; escaped."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here, since most commands make no page

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: tuple[Callable[..., str], ...] = (number, moment, took, counted, upper_first, words)
    environment.filters.update({each.__name__: each for each in filters})
    return environment
