"""Matplotlib drawings as SVG that belongs to the page: its colours, its fonts, light or dark, the same bytes.

Colours are placeholders while matplotlib draws and become CSS variables afterwards, so that one drawing serves
both themes. Text stays text. All lengths are CSS pixels.
"""

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from headstart.determinism import digest

INK, SOFT, LINE, ACCENT, PAPER, ALARM = ("#010203", "#020304", "#030405", "#040506", "#050607", "#060708")
VARIABLES = {INK: "ink", SOFT: "soft", LINE: "line", ACCENT: "accent", PAPER: "paper", ALARM: "alarm"}
TEXT, SMALL = 11.0, 10.0

SVG = "{http://www.w3.org/2000/svg}"
LINK = "{http://www.w3.org/1999/xlink}href"
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may hold dollar signs
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
}
NUMBER = re.compile(r"-?\d+\.\d{3,}")
FONT = re.compile(r"font-family:[^;]*;?\s*")


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """An empty drawing of that many CSS pixels; draw on it, and turn it into SVG, inside the block."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(figure)
        yield figure


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at that place, pixels from the top left corner: no frame, no ticks, quiet labels."""
    across, down = figure.get_size_inches() * 72
    axes = figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))
    axes.patch.set_visible(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL, labelcolor=SOFT, pad=5)
    return axes


def svg(figure: Figure, alt: str, *, titles: Mapping[str, str] | None = None) -> Markup:
    """The drawing as one inline `<svg>` element, its text escaped.

    Args:
        figure: drawn with this module's colours only.
        alt: what a reader who cannot see it is told.
        titles: artist's gid -> text shown while the pointer rests on it.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": digest(alt)}), warnings.catch_warnings():
        # the salt keeps ids apart between drawings; a glyph that only matplotlib lacks does not matter
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(_valid(buffer.getvalue()))
    _tidy(root, titles or {})
    width, height = (round(side * 72) for side in figure.get_size_inches())
    root.attrib.clear()
    root.attrib.update({"viewBox": f"0 0 {width} {height}", "role": "img", "aria-label": _valid(alt)})
    root.attrib["style"] = f"width:{width}px"
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # escaped by ElementTree


def shortened(text: str, length: int = 24) -> str:
    """`text` on one line in at most `length` characters, the middle left out: both ends tell labels apart."""
    text = " ".join(_valid(text).split())
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def _tidy(root: ElementTree.Element, titles: Mapping[str, str]) -> None:
    """Drop what would leak into the page (ids, styles, metadata) and name colours as the page does."""
    used = {link.removeprefix("#") for element in root.iter() if (link := element.get(LINK))}
    used |= {match for element in root.iter() for match in re.findall(r"url\(#(\w+)\)", element.get("clip-path", ""))}
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{SVG}metadata" or (child.tag == f"{SVG}defs" and child.find(f"{SVG}style") is not None):
                parent.remove(child)
    for element in root.iter():
        identifier = element.get("id", "")
        if identifier in titles:
            title = ElementTree.Element(f"{SVG}title")
            title.text = _valid(titles[identifier])
            element.insert(0, title)
        if identifier and identifier not in used:
            del element.attrib["id"]
        if link := element.attrib.pop(LINK, None):
            element.set("href", link)
        if style := element.get("style"):
            element.set("style", _coloured(FONT.sub("", style)))
        for name in ("d", "x", "y", "transform"):
            if value := element.get(name):
                element.set(name, NUMBER.sub(lambda match: f"{float(match[0]):.2f}", value).replace("\n", ""))
        element.tail = None
        if element.text and not element.text.strip():
            element.text = None


def _coloured(style: str) -> str:
    for placeholder, name in VARIABLES.items():
        style = style.replace(placeholder, f"var(--{name})")
    return style.strip()


def _valid(text: str) -> str:
    """Without characters that XML forbids."""
    return "".join(
        character
        if character in "\t\n"
        or " " <= character < "\ud800"
        or "\ue000" <= character <= "\ufffd"
        or character > "\uffff"
        else "�"
        for character in text
    )
