"""`params.yaml` read and written so that all that is not changed stays: comments, order, quotes, numbers, nulls."""

from io import StringIO
from typing import Any


def loads(text: str) -> Any:
    """The document as ruamel's mapping, which remembers how it was written."""
    return _yaml().load(text)


def dumps(document: Any) -> str:
    """The text again; equal to what `loads` got where nothing was changed."""
    stream = StringIO()
    _yaml().dump(document, stream)
    return stream.getvalue()


def _yaml() -> Any:
    from ruamel.yaml import YAML  # here, as a server that only serves has no ruamel
    from ruamel.yaml.representer import RoundTripRepresenter

    class WithNull(RoundTripRepresenter):
        """ruamel itself writes nothing for null."""

    WithNull.add_representer(type(None), _null)
    yaml = YAML()
    yaml.Representer = WithNull
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml


def _null(representer: Any, _: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
