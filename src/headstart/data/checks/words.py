"""What was seen in rows, and counts that read well."""

KEPT_NOTES = 100


class Notes(dict[int, str]):
    """What was seen in a row, by its place; only of the first hundred rows, so that memory stays flat."""

    def add(self, place: int, note: str) -> None:
        """Keep the note, if there is room."""
        if len(self) < KEPT_NOTES:
            self[place] = note


def of(count: int, total: int, noun: str) -> str:
    """`3 of 4,907 texts`."""
    return f"{count:,} of {counted(total, noun)}"


def counted(count: int, noun: str) -> str:
    """`1 row`, `4,682 rows`, `2 classes`."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def does(count: int, one: str, many: str) -> str:
    """The verb that goes with a count: `1 row repeats`, `2 rows repeat`."""
    return one if count == 1 else many
