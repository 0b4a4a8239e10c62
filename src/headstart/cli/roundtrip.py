"""`params.yaml` read and written so that all that is not changed stays: comments, order, quotes, numbers, nulls."""

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter


class _WithNull(RoundTripRepresenter):
    """ruamel itself writes nothing for null."""


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


_WithNull.add_representer(type(None), _null)


def loads(text: str) -> Any:
    """The document as ruamel's mapping, which remembers how it was written."""
    return _yaml().load(text)


def dumps(document: Any) -> str:
    """The text again; equal to what `loads` got where nothing was changed."""
    stream = StringIO()
    _yaml().dump(document, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _WithNull
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml
