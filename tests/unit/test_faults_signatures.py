"""Windows of damaged inputs bear the signature of their damage; clean and foreign ones bear none."""

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from headstart.contract import files
from headstart.contract.spec import Contract
from headstart.faults import signatures
from headstart.faults.signatures import Signature
from headstart.faults.table import FAULTS
from headstart.predictor import Preprocessor
from headstart.statistics.two_sample import cliffs_delta
from tests.unit.contract_examples import LABELS, text_spec, tokenizer_json

SUBJECTS = ["the card", "my account", "a transfer", "this payment", "your app"]
ENDINGS = [
    "has not arrived yet.",
    "was declined twice!",
    "doesn't work, why?",
    "costs too much - really.",
    "is fine now.",
]


def texts_of(count, seed):
    random = np.random.default_rng(seed)
    sentence = lambda: f"{random.choice(SUBJECTS)} {random.choice(ENDINGS)}".capitalize()  # noqa: E731
    return [" ".join(sentence() for _ in range(int(random.integers(1, 5)))) for _ in range(count)]


@pytest.fixture(scope="module")
def preprocessor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contract")
    tokenizer = tokenizer_json()
    spec = text_spec(tokenizer, max_tokens=64, max_characters=5000)
    files.write(folder, Contract("text", spec, LABELS), tokenizer_json=tokenizer)
    return Preprocessor.load(folder)


@pytest.fixture(scope="module")
def known(preprocessor):
    return signatures.build(preprocessor, texts_of(150, seed=1), seed=0)


def columns(preprocessor, texts):
    rows = preprocessor.properties(texts)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_delta_by_hand_with_ties():
    # 3 beats both, 1 ties with one and loses to the other: (2 - 0 + 0 - 1) / 4
    assert cliffs_delta([1, 2], [3, 1]) == pytest.approx(1 / 4)
    assert cliffs_delta([], [1.0]) == 0.0


def test_delta_of_a_mixture_is_that_share_of_the_delta():
    random = np.random.default_rng(0)
    reference, moved = random.normal(size=500), random.normal(2, 1, 300)
    same = np.resize(reference, 700)
    mixed = np.concatenate([moved, same])
    whole = 0.3 * cliffs_delta(reference, moved) + 0.7 * cliffs_delta(reference, same)
    assert cliffs_delta(reference, mixed) == pytest.approx(whole)


@pytest.mark.parametrize("name", ["upper_cased", "punctuation_removed", "html_escaped", "spaces_removed", "cut"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_damaged_window_is_named_even_where_half_of_it_is_sound(name, share, preprocessor, known):
    reference = columns(preprocessor, texts_of(1000, seed=2))
    window = texts_of(1000, seed=3)
    generator = np.random.default_rng(9)
    damaged = [
        FAULTS[name].inject(text, 4, generator) if row < share * 1000 else text for row, text in enumerate(window)
    ]
    found = signatures.match(known, reference, columns(preprocessor, damaged))
    assert [each.fault.name for each in found] == [name]
    assert found[0].share == pytest.approx(share, abs=0.15)


def test_clean_windows_bear_no_signature(preprocessor, known):
    reference = columns(preprocessor, texts_of(400, seed=2))
    windows = [columns(preprocessor, texts_of(200, seed=seed)) for seed in range(10, 40)]
    assert not any(signatures.match(known, reference, window) for window in windows)


def test_another_kind_of_text_bears_no_signature(preprocessor, known):
    reference = columns(preprocessor, texts_of(400, seed=2))
    random = np.random.default_rng(4)
    numbers = [
        f"ORDER-{random.integers(10**6)} / {random.integers(100)} pcs; {random.random():.3f} EUR" for _ in range(200)
    ]
    assert signatures.match(known, reference, columns(preprocessor, numbers)) == []


def test_faults_of_different_causes_that_explain_a_window_equally_are_both_told():
    random = np.random.default_rng(0)
    reference = {"sharpness": random.normal(size=400), "kilobytes": random.normal(size=400)}
    window = {"sharpness": random.normal(-3, 1, 200), "kilobytes": random.normal(9, 1, 200)}  # encoded anew, too
    known = [Signature(name, 3, {"sharpness": -0.97, "kilobytes": 0.2}) for name in ("blurred", "thumbnailed")]
    found = signatures.match(known, reference, window)
    assert {each.fault.name for each in found} == {"blurred", "thumbnailed"}
    same = [Signature(name, 3, {"sharpness": -0.97}) for name in ("blurred", "flattened")]  # one cause
    assert len(signatures.match(same, reference, window)) == 1


@pytest.mark.parametrize(
    ("moved", "by", "named"),
    [
        pytest.param(1, 13, True, id="89% explained, and the rest passes for chance"),
        pytest.param(3, 18, False, id="92% explained, and the rest does not"),
        pytest.param(1, 18, False, id="79% explained, and neither does the rest"),
    ],
)
def test_a_fault_that_explains_most_is_named_where_what_it_leaves_would_not_count_as_moved(moved, by, named):
    """Ten properties of 100 inputs each; a delta's error is sqrt(201 / 30,000) = 0.082 where nothing changed.

    The fault moves some properties wholly, 12.2 errors each (149 when squared). Three others are 13 or 18 ranks higher,
    3.1 or 4.1 errors each: 28 or 50 together, where 4 for each of ten properties, 40, count as moved.
    """
    ranks = np.arange(100.0)
    names = [f"p{number}" for number in range(10)]
    window = dict.fromkeys(names, ranks + 0.5)
    window |= dict.fromkeys(names[:moved], ranks + 1000) | dict.fromkeys(names[-3:], ranks + by + 0.5)
    planted = Signature("mistyped", 5, dict.fromkeys(names[:moved], 1.0))
    found = signatures.match([planted], dict.fromkeys(names, ranks), window)
    assert [each.fault.name for each in found] == ["mistyped"] * named


def test_the_share_of_a_part_of_the_window_is_its_own(preprocessor, known):
    reference = columns(preprocessor, texts_of(400, seed=2))
    sound, damaged = texts_of(100, seed=3), [text.upper() for text in texts_of(100, seed=4)]
    (found,) = signatures.match(known, reference, columns(preprocessor, sound + damaged))
    assert signatures.share(found, reference, columns(preprocessor, damaged)) == pytest.approx(1.0, abs=0.1)
    assert signatures.share(found, reference, columns(preprocessor, sound)) == pytest.approx(0.0, abs=0.1)


def test_what_was_written_is_read(known, tmp_path):
    signatures.write(tmp_path, known)
    again = signatures.read(tmp_path)
    assert [(each.fault, each.severity) for each in again] == [(each.fault, each.severity) for each in known]
    assert again[0].deltas == pytest.approx(known[0].deltas, abs=1e-4)
    assert signatures.read(tmp_path / "a bundle of before") == []


def test_signatures_of_faults_that_are_no_longer_known_are_passed_over(known, tmp_path):
    signatures.write(tmp_path, [Signature("renamed_since", 3, {"words": -0.9}), known[0]])
    assert [each.fault for each in signatures.read(tmp_path)] == [known[0].fault]


def preprocessor_with(tmp_path, tokenizer):
    spec = text_spec(tokenizer, max_tokens=64, max_characters=5000)
    files.write(tmp_path, Contract("text", spec, LABELS), tokenizer_json=tokenizer)
    return Preprocessor.load(tmp_path)


SHOUTED = ["Good movie!", "BAD movie", "good, Bad, good"]


def test_capitals_cannot_reach_a_network_whose_tokenizer_lowers_them(tmp_path):
    assert signatures.unseen(preprocessor_with(tmp_path, tokenizer_json()), SHOUTED, seed=0) == ["upper_share"]


def test_capitals_reach_a_network_whose_tokenizer_keeps_them(tmp_path):
    cased = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3, "BAD": 4}, unk_token="[UNK]"))
    cased.pre_tokenizer = Whitespace()
    assert signatures.unseen(preprocessor_with(tmp_path, cased.to_str()), SHOUTED, seed=0) == []


def test_what_cannot_reach_the_network_is_read_again_and_of_older_bundles_nothing_but_file_sizes_is_known(tmp_path):
    signatures.write(tmp_path, [], unseen=["upper_share"])
    assert signatures.read_unseen(tmp_path) == {"upper_share", "kilobytes"}
    (tmp_path / "signatures.json").write_text('{"format": 1, "signatures": []}')
    assert signatures.read_unseen(tmp_path) == {"kilobytes"}
    assert signatures.read(tmp_path) == []


def test_severities_that_change_nothing_do_not_hide_those_that_do(preprocessor):
    short = [f"{subject} is fine now, is it not?" for subject in SUBJECTS] * 10  # 8 or 9 words
    severities = [each.severity for each in signatures.build(preprocessor, short, seed=0) if each.fault == "cut"]
    assert severities[-2:] == [4, 5]  # the first 40, 20 and 10 words are all of them, the first 5 and 3 are not


def test_a_mark_that_sound_inputs_never_bear_is_enough_however_few_inputs_bear_it():
    random = np.random.default_rng(0)
    marks = np.where(np.arange(200) < 20, 0.02, 0.0)  # of one text in ten
    others = {name: random.normal(size=400) for name in ("words", "tokens", "characters", "longest_word")}
    window = {name: random.normal(size=200) for name in others} | {"mojibake_share": marks}
    known = [Signature("mojibake", 3, {"mojibake_share": 0.12}), Signature("cut", 3, {"words": -1.0, "tokens": -1.0})]
    found = signatures.match(known, {**others, "mojibake_share": np.zeros(400)}, window)
    assert [each.fault.name for each in found] == ["mojibake"]
