"""The check `personal_data`: e-mail addresses, phone numbers and card numbers that stand in texts, shown masked only.

What plain numbers must not set off, and how that is held:

    years, prices, order numbers    a phone number is international, `+` and a country's own pattern, or North American
                                    in its usual groups, 3-3-4 by dashes, dots or brackets; ten bare digits are none.
                                    10 or 11 digits from 0 on, as most countries write theirs at home, are a kind of
                                    their own, since without a country nobody can tell
    ISBN, EAN, account numbers      a card number has an issuer's prefix and length, its groups, and Luhn's check digit
    long numbers by the thousand    of random ones with a card's prefix one in ten has a right check digit; where no
                                    more than that do, there are no cards
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import phonenumbers
from scipy import stats

from headstart.data.checks.words import Notes
from headstart.data.examples import Examples, Places, Reasons
from headstart.findings import Finding

KINDS = {
    1: "email",
    2: "phone",
    4: "card",
    8: "national_phone",
}
EMAIL, PHONE, CARD, NATIONAL = KINDS
ADDRESS = re.compile(
    r"(?<![\w.+-])([a-z0-9][\w.%+-]{0,63})@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,5}[a-z]{2,18})(?![\w@-])",
    re.IGNORECASE | re.ASCII,
)
NOBODY = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost|png|jpe?g|gif|svg)$", re.IGNORECASE
)
"""Domains reserved for documentation, and file names such as `logo@2x.png`."""

SEVEN_DIGITS = re.compile(r"(?:\d[\s().-]{0,3}){7}")
INTERNATIONAL = re.compile(r"\+\s?\d(?:[\s()./-]{0,3}\d){6,14}")
NORTH_AMERICAN = re.compile(r"(?<![\w.+-])(?:1[-. ])?(?:\(\d{3}\)[-. ]?|\d{3}[-.])\d{3}[-.]\d{4}(?![\w-])")
TRUNK = re.compile(r"(?<![\w.,/+-])(?<!\d[ ])\(?0[1-9]\d{1,4}\)?(?:[ -]?\d{2,8}){1,4}(?![\w-]|[.,]\d|[ ]\d)")
"""A number with its trunk prefix; how many digits it has is counted afterwards."""

DIGITS = re.compile(r"(?<![\d.,-])\d{14,19}(?![\d-])|(?<![\d.,-])\d{4}([ -])\d{4}\1\d{4}\1\d{4}(?![\d-])"
                    r"|(?<![\d.,-])3\d{3}([ -])\d{6}\2\d{4,5}(?![\d-])")  # fmt: skip
ISSUED = re.compile(
    r"4(?:\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}|"
    r"(?:6011|65\d\d|64[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)
"""Visa, Mastercard, American Express, Discover, JCB, Diners, UnionPay; Visa's 13 digits of old would be barcodes."""

BY_CHANCE, MANY = 0.1, 10


class PersonalData:
    """Counts texts by kind; one byte a row, and masked notes of the first few. National numbers elsewhere than in
    North America are not looked for: without a country, an order number looks like one."""

    def __init__(self, level: float) -> None:
        self.level = level
        self._kinds = bytearray()
        self._numbers = 0  # with a card's prefix and length
        self._checked = 0  # of these, with a right check digit
        self._notes: dict[int, Notes] = {kind: Notes() for kind in KINDS}

    def see(self, first: int, payloads: Sequence[Any]) -> None:
        for place, payload in enumerate(payloads, first):
            kinds = 0
            if isinstance(payload, str):
                for kind, shown in self._found(payload):
                    kinds |= kind
                    if place not in self._notes[kind]:
                        self._notes[kind].add(place, shown)
            self._kinds.append(kinds)

    def conclude(self, examples: Examples) -> list[tuple[Reasons, Finding]]:
        at = examples.at
        kinds = np.frombuffer(self._kinds, np.uint8)[at]
        if self._numbers >= MANY and stats.binom.sf(self._checked - 1, self._numbers, BY_CHANCE) > self.level:
            kinds = kinds & ~np.uint8(CARD)
        places = at[kinds > 0]
        if not len(places):
            return [({}, examples.finding("personal_data", "pass", places, looked_at=len(at)))]
        by_kind = {kind: at[(kinds & kind) > 0] for kind in KINDS}
        kinds_found = [
            {"kind": name, "count": len(by_kind[kind]), "rows": _seen(examples, by_kind[kind], self._notes[kind])}
            for kind, name in KINDS.items()
        ]
        finding = examples.finding(
            "personal_data",
            "unsure",
            places,
            looked_at=len(at),
            kinds=kinds_found,
            phones=len(by_kind[PHONE]) + len(by_kind[NATIONAL]) > 0,
            counts={name: len(by_kind[kind]) for kind, name in KINDS.items()},
        )
        rows = [{**row, "id": masked_id(row["id"])} for row in finding.evidence["rows"]]
        finding = replace(finding, evidence={**finding.evidence, "rows": rows})
        names = {int(place): [KINDS[kind] for kind in KINDS if self._kinds[place] & kind] for place in places}
        return [({place: {"kinds": held} for place, held in names.items()}, finding)]

    def _found(self, text: str) -> Iterator[tuple[int, str]]:
        """Kind and masked form of what stands in a text."""
        if "@" in text:
            for found in ADDRESS.finditer(text):
                if not NOBODY.search(found[2]):
                    yield EMAIL, _masked_address(found[0])
        if SEVEN_DIGITS.search(text) is None:
            return
        for pattern, region in ((INTERNATIONAL, None), (NORTH_AMERICAN, "US")):
            for found in pattern.finditer(text):
                for match in phonenumbers.PhoneNumberMatcher(found[0], region):
                    yield PHONE, _masked_digits(match.raw_string)
        for found in TRUNK.finditer(text):
            digits = re.sub(r"\D", "", found[0])
            if len(digits) in (10, 11) and not _is_isbn(digits):
                yield NATIONAL, _masked_digits(found[0])
        for found in DIGITS.finditer(text):
            digits = re.sub(r"\D", "", found[0])
            if ISSUED.fullmatch(digits) and len(set(digits)) > 1:
                self._numbers += 1
                if _luhn(digits):
                    self._checked += 1
                    yield CARD, f"**** **** **** {digits[-4:]}"


def _seen(examples: Examples, places: Places, notes: Mapping[int, str]) -> list[dict[str, Any]]:
    """The first rows as evidence, without their ids, which may name people too."""
    return [{key: value for key, value in row.items() if key != "id"} for row in examples.listed(places, notes)[:3]]


def masked(text: str) -> str:
    """A text with what looks personal in it masked; for ids there is `masked_id`."""
    text = ADDRESS.sub(lambda found: _masked_address(found[0]), text)
    return re.sub(r"\+?\d(?:[\s().-]{0,2}\d){6,}", lambda found: _masked_digits(found[0]), text)


def masked_id(name: str) -> str:
    """An id as it is, so that its row can be found by it: digits in it are no phone number.

    Only an e-mail address, or a number with its `+`, is masked: people are named so in tables of customers.
    """
    name = ADDRESS.sub(lambda found: _masked_address(found[0]), name)
    return INTERNATIONAL.sub(lambda found: _masked_digits(found[0]), name)


def _masked_address(address: str) -> str:
    """`j***@***.org`."""
    name, _, domain = address.partition("@")
    return f"{name[0]}***@***.{domain.rpartition('.')[2]}"


def _masked_digits(number: str) -> str:
    """Every digit but the last two as a star: `+** *** ****67`."""
    last = [at for at, character in enumerate(number) if character.isdigit()][-2:]
    return "".join("*" if character.isdigit() and at not in last else character for at, character in enumerate(number))


def _is_isbn(digits: str) -> bool:
    """Whether ten digits are an ISBN by their check digit. Source: ISO 2108, as it was until 2006."""
    weighted = sum((10 - at) * int(digit) for at, digit in enumerate(digits))
    return len(digits) == 10 and weighted % 11 == 0


def _luhn(digits: str) -> bool:
    """Whether the check digit is right. Source: ISO/IEC 7812-1, annex B."""
    doubled = [int(digit) * (2 - at % 2) if at % 2 == 0 else int(digit) for at, digit in enumerate(digits[-2::-1])]
    total = sum(value - 9 if value > 9 else value for value in doubled)
    return (total + int(digits[-1])) % 10 == 0
