"""What `faults.py` plants: each fault names the check that should find it, and how it is put into rows."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image


@dataclass
class Rows:
    """A set to plant in: columns as lists, and the ids of what was planted."""

    payloads: list[Any]
    labels: list[str]
    splits: list[str]
    ids: list[str] = field(default_factory=list)
    times: list[str | None] = field(default_factory=list)
    planted: set[str] = field(default_factory=set)
    originals: dict[str, str] = field(default_factory=dict)  # of what was added, the row it was made from

    def __post_init__(self) -> None:
        self.ids = self.ids or [f"row-{n}" for n in range(len(self.payloads))]
        self.times = self.times or [None] * len(self.payloads)

    def copied(self) -> "Rows":
        return Rows(list(self.payloads), list(self.labels), list(self.splits), list(self.ids), list(self.times))

    def add(self, payload: Any, place: int, label: str, split: str) -> None:
        """A row made from the one at `place`."""
        self.ids.append(f"planted-{len(self.ids)}")
        self.planted.add(self.ids[-1])
        self.originals[self.ids[-1]] = self.ids[place]
        for column, value in ((self.payloads, payload), (self.labels, label), (self.splits, split), (self.times, None)):
            column.append(value)


Plant = Callable[[Rows, list[int], np.random.Generator], None]


def changed(change: Callable[[Any, np.random.Generator], Any]) -> Plant:
    """Change the payload of each row chosen."""

    def plant(rows: Rows, chosen: list[int], generator: np.random.Generator) -> None:
        for place in chosen:
            rows.payloads[place] = change(rows.payloads[place], generator)
            rows.planted.add(rows.ids[place])

    return plant


def copies(change: Callable[[Any, np.random.Generator], Any], *, source: str, into: str = "train") -> Plant:
    """Add a changed copy of rows of `source` to `into`."""

    def plant(rows: Rows, chosen: list[int], generator: np.random.Generator) -> None:
        own = [place for place, split in enumerate(rows.splits) if split == source]
        for place in generator.permutation(own)[: len(chosen)]:
            rows.add(change(rows.payloads[place], generator), int(place), rows.labels[place], into)

    return plant


def marked(change: Callable[[Any, np.random.Generator], Any]) -> Plant:
    """Change the share asked for of one class: what makes a shortcut."""

    def plant(rows: Rows, chosen: list[int], generator: np.random.Generator) -> None:
        name = max(set(rows.labels), key=rows.labels.count)
        own = [place for place, label in enumerate(rows.labels) if label == name]
        share = len(chosen) / len(rows.labels) * 5  # severities of 0.2, 0.05, 0.01 mark all, a quarter, 5% of the class
        for place in generator.permutation(own)[: round(share * len(own))]:
            rows.payloads[place] = change(rows.payloads[place], generator)

    return plant


def edited(text: str, generator: np.random.Generator) -> str:
    """One word of a text replaced, or one added where it is short."""
    words = text.split()
    words[int(generator.integers(len(words)))] = "indeed"
    return " ".join(words) if len(words) > 15 else f"{text} !"


def conflict(rows: Rows, chosen: list[int], _generator: np.random.Generator) -> None:
    names = sorted(set(rows.labels))
    for place in [place for place in chosen if rows.splits[place] == "train"]:
        other = names[(names.index(rows.labels[place]) + 1) % len(names)]
        rows.add(rows.payloads[place], place, other, "train")
        rows.planted.add(rows.ids[place])


def disordered(rows: Rows, chosen: list[int], _generator: np.random.Generator) -> None:
    rows.times = [f"2024-0{1 if split == 'train' else 5}-01" for split in rows.splits]
    for place in [place for place in chosen if rows.splits[place] == "train"]:
        rows.times[place] = "2024-06-01"


def collected(rows: Rows, chosen: list[int], generator: np.random.Generator) -> None:
    name = max(set(rows.labels), key=rows.labels.count)
    for place, label in enumerate(rows.labels):
        if generator.random() < (len(chosen) / len(rows.labels) * 5) and label == name:
            rows.ids[place] = f"export_{place}"


def opened(payload: bytes) -> Image.Image:
    return Image.open(io.BytesIO(payload)).convert("RGB")


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def stamped(payload: bytes, _generator: np.random.Generator) -> bytes:
    image = opened(payload)
    image.paste((255, 40, 40), (0, 0, image.width // 5, image.height // 5))
    return saved(image)


def turned(payload: bytes, _generator: np.random.Generator) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(opened(payload), "JPEG", exif=exif)


def card(generator: np.random.Generator) -> str:
    digits = [4, *generator.integers(0, 10, 14).tolist()]
    doubled = [(2 * d - 9 if d > 4 else 2 * d) if n % 2 == 0 else d for n, d in enumerate(digits)]
    return "".join(map(str, [*digits, -sum(doubled) % 10]))


def again(payload: bytes, _generator: np.random.Generator) -> bytes:
    return saved(opened(payload), "JPEG", quality=90)


def mirrored(payload: bytes, _generator: np.random.Generator) -> bytes:
    return saved(opened(payload).transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def quarter_turned(payload: bytes, generator: np.random.Generator) -> bytes:
    """Turned by 90, 180 or 270 degrees, and as often mirrored too."""
    image = opened(payload).rotate(90 * int(generator.integers(1, 4)), expand=True)
    return saved(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if generator.random() < 0.5 else image)


def flat(_payload: bytes, generator: np.random.Generator) -> bytes:
    return saved(Image.new("RGB", (32, 32), int(generator.integers(1 << 24))))


def moving(payload: bytes, _generator: np.random.Generator) -> bytes:
    image = opened(payload)
    return saved(image, "GIF", save_all=True, append_images=[Image.new("RGB", image.size)])


def misread(text: str, _generator: np.random.Generator) -> str:
    return f"{text} café — naïve".encode().decode("latin-1")


def same(payload: Any, _generator: np.random.Generator) -> Any:
    return payload


# fault: (check that should name it, how it is planted, whether rows are named or the set)
TEXT_FAULTS: dict[str, tuple[str, Plant, bool]] = {
    "blank": ("payloads", changed(lambda text, _: "  \n"), True),
    "decoded wrongly": ("mojibake", changed(misread), True),
    "null bytes": ("payloads", changed(lambda text, _: f"{text[:9]}\0{text[9:]}"), True),
    "control characters": ("control_characters", changed(lambda text, _: f"{text}\x08\x1b"), True),
    "markup": ("markup", changed(lambda text, _: f"<div class='x'><p>{text}</p></div>"), True),
    "e-mail address": ("personal_data", changed(lambda text, g: f"{text} jane{g.integers(99)}@posteo.net"), True),
    "phone number": ("personal_data", changed(lambda text, g: f"{text} +44 20 7946 {g.integers(1000, 9999)}"), True),
    "card number": ("personal_data", changed(lambda text, g: f"{text} card {card(g)}"), True),
    "test row in train": ("leak", copies(same, source="test"), True),
    "test row in train, spaces": ("leak", copies(lambda text, _: text.replace(" ", "  "), source="test"), True),
    "edited test row in train": ("near_leak", copies(edited, source="test"), True),
    "repeated row": ("duplicates", copies(same, source="train"), True),
    "edited repeat": ("near_duplicates", copies(edited, source="train"), True),
    "two labels": ("label_conflicts", conflict, True),
    "absurd length": ("lengths", changed(lambda text, _: "word " * 3000), False),
    "cut off": ("truncation", changed(lambda text, _: f"{text} " + "more " * 200), False),
    "a token tells": ("token_shortcut", marked(lambda text, _: f"{text} xqz7"), False),
    "length tells": ("length_shortcut", marked(lambda text, _: text + " and so on" * 60), False),
    "id tells": ("metadata_shortcut", collected, False),
    "later than test": ("time_order", disordered, False),
}
PICTURE_FAULTS: dict[str, tuple[str, Plant, bool]] = {
    "no picture": ("payloads", changed(lambda _, g: g.bytes(200)), True),
    "cut short": ("payloads", changed(lambda payload, _: payload[: len(payload) // 2]), True),
    "one colour": ("constant_images", changed(flat), True),
    "animated": ("payloads", changed(moving), True),
    "test row in train": ("leak", copies(same, source="test"), True),
    "test row saved anew": ("near_leak", copies(again, source="test"), True),
    "test row mirrored": ("near_leak", copies(mirrored, source="test"), True),
    "test row turned": ("near_leak", copies(quarter_turned, source="test"), True),
    "repeat saved anew": ("near_duplicates", copies(again, source="train"), True),
    "two labels": ("label_conflicts", conflict, True),
    "turned by EXIF": ("rotated", changed(turned), False),
    "CMYK": ("modes", changed(lambda payload, _: saved(opened(payload).convert("CMYK"), "TIFF")), False),
    "see-through": ("modes", changed(lambda payload, _: saved(opened(payload).convert("RGBA"))), False),
    "tiny": ("sizes", changed(lambda payload, _: saved(opened(payload).resize((5, 5)))), False),
    "watermark": ("watermark", marked(stamped), False),
    "size tells": ("length_shortcut", marked(lambda payload, _: saved(opened(payload).resize((96, 96)))), False),
}
