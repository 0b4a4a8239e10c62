"""Personal data in texts: what is found is never shown in the clear, and plain numbers are not taken for it."""

import json

import pytest

from headstart.data.checks.privacy import PersonalData, masked, masked_id
from headstart.report.finding_words import told
from tests.unit.checked_rows import LEVEL, examples, findings, real, real_rows

ADDRESS = "jane.doe@mail.university.org"
PLANTED = [
    (f"write to {ADDRESS} please", "email", ADDRESS, "j***@***.org"),
    ("call +44 20 7946 0958 now", "phone", "7946", "+** ** **** **58"),
    ("call (212) 736-5000 now", "phone", "736", "(***) ***-**00"),
    ("call 08712300220 now", "national_phone", "0871", "*********20"),
    ("Tel. 030 901820-11!", "national_phone", "9018", "*** ******-11"),
    ("ring (020) 7946 0958", "national_phone", "7946", "(***) **** **58"),
    ("card 4111 1111 1111 1111 exp 12/29", "card", "4111", "**** **** **** 1111"),
    ("amex 378282246310005.", "card", "378282", "**** **** **** 0005"),
]
PLAIN = [
    "In 1999 and 2024 it cost 1,299.00 or 1299000 in all",
    "order 4155552671, parcel 1Z9999999999999999, invoice 2024-000123-456",
    "ISBN 978-3-16-148410-0 and 9780306406157, EAN 4006381333931",
    "order 112-1234567-1234567, IBAN DE89 3704 0044 0532 0130 00",
    "4111111111111112 has a wrong check digit; 1234567812345678 no issuer",
    "version 10.12.14.2020 at 192.168.100.100 on 2024-01-15 10:30:00",
    "write to me at example: name@example.com, logo@2x.png, @user hello",
    "ISBN 0306406152 and 0-306-40615-2, UPC 012345678905, part 0012345678, case 12 0171234567 3",
    "0.1234567890 and 0,1234567890; 01/02/2024 03:04:05; 0123 4567",
    "0000000000000000 4444444444444444 1111111111111111",
    "3.141592653589793 -118.2436849012345678",
]


def said(texts):
    return findings(PersonalData(LEVEL), texts)["personal_data"]


def said_with_ids(ids):
    texts = [f"write to {ADDRESS}"] * len(ids)
    rows = examples(texts)
    rows = type(rows)(**{**vars(rows), "ids": type(rows.ids).from_pandas(ids)})
    return findings(PersonalData(LEVEL), texts, rows)["personal_data"][1].evidence


@pytest.mark.parametrize(("text", "kind", "secret", "shown"), PLANTED)
def test_each_kind_is_found_and_shown_masked(text, kind, secret, shown):
    reasons, finding = said(["fine", text])
    assert reasons == {1: {"kinds": [kind]}}
    assert shown in told(finding)["reason"]
    assert finding.evidence["counts"][kind] == 1


def test_nothing_personal_stands_in_the_clear_anywhere_in_the_finding():
    texts = [text for text, *_ in PLANTED]
    rows = examples(texts)
    rows = type(rows)(**{**vars(rows), "ids": type(rows.ids).from_pandas([ADDRESS, "+442079460958", *"cdefgh"])})
    reasons, finding = findings(PersonalData(LEVEL), texts, rows)["personal_data"]
    told = json.dumps([finding.document(), reasons], ensure_ascii=False)
    for _, _, secret, _ in PLANTED:
        assert secret not in told
    assert "2079460958" not in told


@pytest.mark.parametrize("text", PLAIN)
def test_plain_numbers_are_not_personal(text):
    assert said([text])[1].verdict == "pass"


def test_long_numbers_whose_check_digits_are_right_by_chance_are_no_cards():
    # numbers that count up: one in ten has a right check digit
    texts = [f"order {4929000000000000 + 7 * number}" for number in range(300)]
    assert said(texts)[1].verdict == "pass"


def test_one_card_among_many_texts_is_found():
    assert said(["fine"] * 500 + ["4111111111111111"])[1].statistic == 1.0


def test_what_counts_as_a_phone_number_is_said():
    """ "A phone number in 2" was said of a set with 311 national ones."""
    _, finding = said(["call 08712300220", "or 07123456789", "fine", "+44 20 7946 0958"])
    assert (
        "a phone number in 1: " in told(finding)["reason"]
        and "what may be a national phone number in 2: " in told(finding)["reason"]
    )
    assert "10 or 11 digits that begin with a single 0 as national ones" in told(finding)["reason"]
    assert "ten bare digits are not counted" in told(said(["fine"])[1])["reason"]


def test_masks_leave_other_words_alone():
    assert masked("user 17 jane@web.de") == "user 17 j***@***.de"


@pytest.mark.parametrize("name", ["f7e55db123456765fe", "12345678995e28738c", "4155552671", "order-112-1234567"])
def test_an_id_stays_as_it_is_however_many_digits_it_has(name):
    """A stranger got "*******95e28738c" and could not find the row."""
    assert masked_id(name) == name
    assert said_with_ids([name])["rows"][0]["id"] == name


@real
@pytest.mark.parametrize(
    ("name", "rows"), [("trec6", 0), ("banking77", 0), ("subj", 0), ("acl_arc", 0), ("sci_cite", 6)]
)
def test_real_sets_hold_what_was_seen_by_eye(name, rows):
    # sci_cite: four addresses of authors and two fax numbers
    payloads, labelled = real_rows(name)
    assert findings(PersonalData(LEVEL), payloads, labelled)["personal_data"][1].statistic == rows
