"""The two built-in sets: real data, no giveaway, the same each time."""

import io
import re
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from headstart.data.builtin import apidocs, digits
from headstart.data.identity import content_key
from headstart.errors import DataError

GIVEAWAY = re.compile(
    r"\b(aiohttp|asyncssh|faker|matplotlib|mpl_toolkits|networkx|nltk|pillow|PIL|scikit-learn|sklearn|sqlalchemy|"
    r"torch|np|pd|plt|nx)\b|`|\w_\w|\w\.\w+\.\w|\w\(\)",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def everything():
    return [SimpleNamespace(**row, input=row["text"]) for row in apidocs.rows().to_pylist()]


@pytest.fixture(scope="module")
def sentences():
    return [*apidocs.sentences("aiohttp"), *apidocs.sentences("networkx")]


@pytest.mark.slow
def test_apidocs_has_ten_libraries_with_hundreds_of_sentences_each(everything):
    counts = Counter(row.label for row in everything)
    assert set(counts) == set(apidocs.LIBRARIES)
    assert all(150 <= count <= 400 for count in counts.values()), counts


@pytest.mark.slow
def test_no_sentence_of_apidocs_stands_twice(everything):
    assert len({row.input.casefold() for row in everything}) == len(everything)
    assert len({row.id for row in everything}) == len(everything)


@pytest.mark.slow
def test_no_sentence_of_apidocs_names_a_library_a_module_or_an_identifier(everything):
    assert [row.input for row in everything if GIVEAWAY.search(row.input)] == []


@pytest.mark.slow
def test_a_source_file_is_a_group_and_gives_few_sentences(everything):
    counts = Counter(row.group for row in everything)
    assert max(counts.values()) <= apidocs.PER_FILE
    assert len(counts) > 200


def test_sentences_name_no_library_and_no_identifier(sentences):
    assert [sentence.text for sentence in sentences if GIVEAWAY.search(sentence.text)] == []


def test_each_sentence_reads_as_prose_on_one_line(sentences):
    texts = [sentence.text for sentence in sentences]
    assert all(text == " ".join(text.split()) and text.endswith(".") for text in texts)
    assert all(6 <= len(text.split()) <= 40 for text in texts)


def test_reading_a_library_again_gives_the_same_sentences_in_the_same_order(sentences):
    assert [*apidocs.sentences("aiohttp"), *apidocs.sentences("networkx")] == sentences


def test_a_library_that_is_not_installed_is_named():
    with pytest.raises(DataError, match="reads the sources of no-such-library, which is not installed"):
        next(apidocs.sentences("no-such-library"))


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Find peaks.  All of them.", "Find peaks."),
        ("Find peaks,\n    e.g. in noise. More.\n\n    Args: x", "Find peaks, e.g. in noise."),
        ("Find peaks\n\nin noise.", "Find peaks."),
        ("Uses 2.5 bars of air.", "Uses 2.5 bars of air."),
        ("A port (tcp). https://example.org/x", "A port (tcp)."),
    ],
)
def test_the_first_sentence_ends_where_it_ends(docstring, sentence):
    assert apidocs.first_sentence(docstring) == sentence


@pytest.mark.parametrize(
    ("sentence", "masked"),
    [
        (
            "Convert a `Frame` to numpy with scikit-learn's help.",
            "Convert a something to something with something help.",
        ),
        ("Call :func:`fit` before x.transform is used.", "Call something before something is used."),
        ("See https://docs.sqlalchemy.org for some_name.", "See something for something."),
        ("PyTorch and NetworkX, together.", "Something, together."),
        ("A nylon torch", "A nylon something"),
        ("Read http://example.org/a.", "Read something."),
    ],
)
def test_names_are_masked(sentence, masked):
    assert apidocs.mask(sentence) == masked


def test_reading_the_sources_imports_none_of_the_libraries():
    code = (
        "import sys; from headstart.data.builtin import apidocs; next(apidocs.sentences('networkx'));"
        "print([name for names in apidocs.LIBRARIES.values() for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_scan_becomes_a_grey_png_with_sixteenths_stretched_to_255():
    # 8 / 16 * 255 = 127.5, rounded to even; 1 / 16 * 255 = 15.94
    image = Image.open(io.BytesIO(digits.encode([[0.0, 16.0], [8.0, 1.0]])))
    assert (image.format, image.mode) == ("PNG", "L")
    assert np.asarray(image).tolist() == [[0, 255], [128, 16]]


@pytest.mark.slow
def test_digits_are_the_scans_of_scikit_learn_as_png():
    from sklearn.datasets import load_digits

    rows, scans = digits.rows().to_pylist(), load_digits()
    assert len(rows) == 1797
    assert len({content_key(row["image"]) for row in rows}) == 1797
    for place in (0, 900, 1796):
        image = Image.open(io.BytesIO(rows[place]["image"]))
        assert (image.format, image.mode, image.size) == ("PNG", "L", (8, 8))
        expected = [[round(float(value) / 16 * 255) for value in line] for line in scans.images[place]]
        assert np.asarray(image).tolist() == expected
        assert rows[place]["label"] == str(scans.target[place])
