"""What trained models must do whatever their accuracy: invariances, directions, minimum functionality."""

import io

import numpy as np
import pytest
from PIL import Image

from headstart.data import dataset
from headstart.predictor import Predictor
from tests.tiny.workspace import FRAMES, TOPICS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def topics(finished):
    return Predictor.load(finished / "artifacts/models/topics/bundle")


@pytest.fixture(scope="module")
def bars(finished):
    folder = finished / "artifacts/models/bars"
    return Predictor.load(folder / "bundle"), dataset.read(folder / "data/test.parquet")


def labels(predictor, inputs):
    return [prediction.label for prediction in predictor.predict(inputs)]


def test_words_that_training_never_saw_are_understood_by_transfer(topics, finished):
    seen = set(" ".join(dataset.read(finished / "artifacts/models/topics/data/train.parquet").inputs).split())
    for topic, words in TOPICS.items():
        fresh = [word for word in words if word not in seen]
        assert fresh
        assert labels(topics, [f"tell me of {word}" for word in fresh[:10]]) == [topic] * min(10, len(fresh))


def test_the_frame_of_a_question_does_not_change_its_topic(topics):
    word, other = TOPICS["travel"][:2]
    assert set(labels(topics, [frame.format(word, other) for frame in FRAMES])) == {"travel"}


def test_changing_the_words_changes_the_topic(topics):
    frame = FRAMES[0]
    asked = [frame.format(*TOPICS[topic][:2]) for topic in TOPICS]
    assert labels(topics, asked) == list(TOPICS)


def test_an_answer_does_not_depend_on_its_neighbours(topics):
    text = FRAMES[1].format(*TOPICS["kitchen"][:2])
    alone = topics.predict([text])[0].probabilities
    among = topics.predict([text, *(frame.format("x", "y") * 5 for frame in FRAMES)])[0].probabilities
    assert alone == pytest.approx(among, abs=1e-5)


def test_a_little_noise_seldom_changes_what_is_seen(bars):
    predictor, test = bars
    generator = np.random.default_rng(3)

    def noisy(encoded: bytes) -> bytes:
        pixels = np.asarray(Image.open(io.BytesIO(encoded)), np.int16) + generator.integers(-8, 9, (16, 16))
        out = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "PNG")
        return out.getvalue()

    before, after = labels(predictor, test.inputs), labels(predictor, [noisy(image) for image in test.inputs])
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert changed <= 0.1 * len(before)


def test_probabilities_are_probabilities(bars):
    predictor, test = bars
    for prediction in predictor.predict(test.inputs):
        assert sum(prediction.probabilities) == pytest.approx(1.0)
        assert prediction.probability == max(prediction.probabilities)
