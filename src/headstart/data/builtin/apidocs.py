"""Built-in text set `apidocs`: which library does this documentation sentence belong to?

Examples are first sentences of public docstrings. Source files are parsed as text, never imported. Names that would
give the answer away (libraries, modules, aliases, identifiers) are masked, so that meaning has to decide. The group
is the source file: near-copies of a sentence mostly stand in one file, and so in one split. At most twelve sentences
come from one file; files are taken in the order of their hash, so that a library is covered from end to end.
"""

import ast
import inspect
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa

from headstart.data.rows import batch
from headstart.determinism import digest
from headstart.errors import DataError
from headstart.progress import bar

LIBRARIES = {  # distribution -> the names it is imported by; each from a domain of its own
    "aiohttp": ("aiohttp",),  # web client and server
    "asyncssh": ("asyncssh",),  # remote shells
    "faker": ("faker",),  # invented names, addresses, numbers
    "matplotlib": ("matplotlib", "mpl_toolkits"),  # plots
    "networkx": ("networkx",),  # graphs
    "nltk": ("nltk",),  # natural language
    "pillow": ("PIL",),  # images
    "scikit-learn": ("sklearn",),  # machine learning
    "sqlalchemy": ("sqlalchemy",),  # databases
    "torch": ("torch", "torchgen", "functorch"),  # neural networks
}
PER_LIBRARY = 250
PER_FILE = 12
MASK = "something"
WORDS = range(6, 41)
CHARACTERS = range(30, 241)
GIVEAWAYS = (  # alternatives of one expression, in any case
    r"aiohttp|asyncssh|faker\w*|matplotlib|pyplot|pylab|mpl\w*|plt|networkx|nx|nltk|pil|pillow|scikit-learn|sklearn|"
    r"scikits?|sqlalchemy|\w*torch\w*|numpy|np|scipy|sp|pandas|pd|sympy|tensorflow|tf|keras|jax|dask|polars|pyarrow|"
    r"cupy|seaborn|sns|statsmodels|cython|alembic|postgresql|postgres|mysql|mariadb|sqlite|oracle|mssql|psycopg2?|"
    r"asyncpg|aiosqlite|openssh|paramiko|libnacl|pywin32|pygraphviz|graphviz|pydot|lapack|blas|cudnn|aten|functorch|"
    r"inductor|aotautograd|dynamo|triton|caffe2|onnx|wordnet|framenet|verbnet|propbank|treebank|senna|malt|megam|weka|"
    r"tkinter|gtk|wx|qt|cairo|agg|webagg|latex|tex|libjpeg|libtiff|libwebp|freetype|github|git"
)
PASSED_OVER = {"tests", "test", "testing", "_vendor", "_vendored", "vendor", "externals", "conftest.py", "setup.py"}

_ROLE = re.compile(r":[\w:+-]+:`[^`]*`")
_QUOTED = re.compile(r"``[^`]*``|`[^`]*`_{0,2}")
_URL = re.compile(r"\S+://\S*\w/?|\S+@\S+\.\w+")
_IDENTIFIER = re.compile(
    r"\b\w+(?:\.\w+)+(?:\(\))?"  # dotted: numpy.linalg.norm, file.py
    r"|\b\w*_\w+(?:\(\))?"  # snake_case
    r"|\b[A-Za-z]\w*\([^)]*\)"  # call(...)
    r"|\b[A-Z]*[a-z]+[A-Z]\w*"  # camelCase, CamelCase
    r"|\b[A-Z]{2,}[a-z]\w+"  # SQLAlchemy
)
_GIVEAWAY = re.compile(rf"(?<!\w)(?:{GIVEAWAYS})(?:'s)?(?!\w)", re.IGNORECASE)
_REPEATED = re.compile(rf"\b{MASK}\b(?:[\s,/.-]+(?:and |or |the )?{MASK}\b)+", re.IGNORECASE)
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\bcf)\.(?=\s+(?:[A-Z]|\S+://)|\s*$)")
_PROSE = re.compile(r"[A-Z][A-Za-z0-9 ,.;:'\"()/%-]*")


@dataclass(frozen=True)
class Sentence:
    """One masked first sentence and where it stands: `scipy/stats/_qmc.py`, `Sobol.fast_forward`."""

    library: str
    file: str
    name: str
    text: str


def rows() -> pa.RecordBatch:
    """Every example, library by library in alphabetical order; the same for the same installed versions.

    Raises:
        DataError: if one of the libraries is not installed.
    """
    found: list[Sentence] = []
    with bar("reading docstrings", "libraries", len(LIBRARIES)) as shown:
        for library in LIBRARIES:
            found += sentences(library)
            shown.update()
    libraries_of: dict[str, set[str]] = {}
    for sentence in found:
        libraries_of.setdefault(sentence.text.casefold(), set()).add(sentence.library)
    taken: Counter[str] = Counter()
    chosen: list[Sentence] = []
    for sentence in found:
        if len(libraries_of[sentence.text.casefold()]) > 1 or taken[sentence.library] == PER_LIBRARY:
            continue
        taken[sentence.library] += 1
        chosen.append(sentence)
    columns: dict[str, Sequence[Any]] = {
        "id": [f"{sentence.file}:{sentence.name}" for sentence in chosen],
        "label": [sentence.library for sentence in chosen],
        "text": [sentence.text for sentence in chosen],
        "group": [sentence.file for sentence in chosen],
        "row": range(1, len(chosen) + 1),
    }
    return batch(columns, "text")


def versions() -> dict[str, str]:
    """The installed version of every library: what the examples depend on, known without reading them."""
    return {library: _distribution(library).version for library in LIBRARIES}


def sentences(library: str) -> Iterator[Sentence]:
    """First sentences of a library in the order they are taken; a sentence that repeats is given once.

    A few more than needed: those that another library has too are dropped by the caller.
    """
    seen: set[str] = set()
    for file, path in _files(library):
        taken = 0
        for name, text in _docstrings(path):
            sentence = mask(first_sentence(text))
            if taken == PER_FILE or not is_prose(sentence) or sentence.casefold() in seen:
                continue
            seen.add(sentence.casefold())
            taken += 1
            yield Sentence(library, file, name, sentence)
        if len(seen) > PER_LIBRARY + PER_LIBRARY // 4:
            return


def first_sentence(docstring: str) -> str:
    """The first sentence of a docstring on one line, with its full stop.

    >>> first_sentence('Find peaks.  All of them, e.g. in noise.')
    'Find peaks.'
    """
    paragraph = inspect.cleandoc(docstring).split("\n\n")[0]
    line = " ".join(paragraph.split())
    end = _END.search(line)
    return line[: end.start() + 1] if end else f"{line.rstrip(':;,')}."


def mask(sentence: str) -> str:
    """The sentence with every name that gives its library away replaced by one neutral word.

    >>> mask('Convert a `DataFrame` to numpy with pandas.')
    'Convert a something to something with something.'
    """
    for pattern in (_ROLE, _URL, _QUOTED, _IDENTIFIER, _GIVEAWAY):
        sentence = pattern.sub(MASK, sentence)
    sentence = _REPEATED.sub(MASK, sentence)
    return sentence[:1].upper() + sentence[1:]


def is_prose(sentence: str) -> bool:
    """Whether it reads as an English sentence: a few words, letters for the most part, more than masks."""
    words = sentence.rstrip(".").split()
    masked = sum(MASK in word.lower() for word in words)
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return (
        len(words) in WORDS
        and len(sentence) in CHARACTERS
        and _PROSE.fullmatch(sentence) is not None
        and letters >= 0.85 * len(sentence)
        and 4 * masked <= len(words)
        and sentence.endswith(".")
        and "deprecated" not in sentence.lower()
    )


def _files(library: str) -> list[tuple[str, Path]]:
    """Source files of an installed library in the order of their names' hash; no tests, no vendored code."""
    installed = _distribution(library)
    names: Sequence[str] = LIBRARIES[library]
    found = {
        file.as_posix(): Path(str(file.locate()))
        for file in installed.files or ()
        if file.suffix == ".py" and file.parts[0] in names and not PASSED_OVER & set(file.parts)
    }
    return sorted(found.items(), key=lambda item: digest(item[0]))


def _distribution(library: str) -> metadata.Distribution:
    try:
        return metadata.distribution(library)
    except metadata.PackageNotFoundError:
        raise DataError(
            f"builtin:apidocs reads the sources of {library}, which is not installed here.",
            action="Install headstart with its pinned dependencies (make run does), or use a data set of your own.",
        ) from None


def _docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Qualified name and docstring of each public class, function and method of a source file, in its order."""
    source = path.read_bytes()
    if b'"""' not in source:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # other people's invalid escapes
        warnings.simplefilter("ignore", DeprecationWarning)  # which Python 3.11 calls so
        tree = ast.parse(source)
    pending: list[tuple[str, ast.AST]] = [("", tree)]
    while pending:
        prefix, parent = pending.pop(0)
        for node in ast.iter_child_nodes(parent):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name[0] == "_":
                continue
            name = f"{prefix}{node.name}"
            if text := ast.get_docstring(node, clean=False):
                yield name, text
            if isinstance(node, ast.ClassDef):
                pending.append((f"{name}.", node))
