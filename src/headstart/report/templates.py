"""The pages' templates, and the filters they use."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from headstart.report import plots, sparklines, vocabulary
from headstart.report.plots import percent

HERE = Path(__file__).parent


@cache
def environment() -> Environment:
    """What renders the templates that lie beside this module; everything is escaped, and what is absent is an error."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, rounded=plots.rounded, duration=vocabulary.duration)
    environment.filters.update(title_of=vocabulary.title, sparkline_of=sparklines.of_finding, breakable=_breakable)
    environment.globals["style"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))  # our own file
    return environment


def _breakable(text: str) -> Markup:
    """Escaped, with places where a long label may be broken."""
    return Markup(re.sub(r"(?<=[_/.:-])(?=\w)", "<wbr>", str(escape(text))))  # escaped first
