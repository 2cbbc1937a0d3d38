import math

import numpy as np
import pandas as pd
import pytest
import torch

from mets_ecg.zero_shot_scoring import embed_phrases, label_phrases, label_similarities, zero_shot_scores

TEMPLATE = "The ECG of {}, a type of diagnostic."


def test_plain_labels_go_into_the_template():
    expected = {
        "sinus rhythm": ["The ECG of sinus rhythm, a type of diagnostic."],
        "LBBB": ["The ECG of LBBB, a type of diagnostic."],
    }
    assert label_phrases(["sinus rhythm", "LBBB"], TEMPLATE) == expected
    assert label_phrases(("sinus rhythm", "LBBB"), TEMPLATE) == expected
    assert label_phrases("sinus rhythm, LBBB,", TEMPLATE) == expected


def test_phrases_are_used_as_they_stand():
    phrases = {"MI": ["q waves", "old {} infarct"], "NORM": "normal ecg.", "AF": ("a", "b", "c")}
    assert label_phrases(phrases, "no place for it") == {
        "MI": ["q waves", "old {} infarct"],
        "NORM": ["normal ecg."],
        "AF": ["a", "b", "c"],
    }


@pytest.mark.parametrize("labels", [[], "", " , ", {}, (), None])
def test_no_labels(labels):
    with pytest.raises(ValueError, match="no candidate labels: pass candidate_labels="):
        label_phrases(labels, TEMPLATE)


@pytest.mark.parametrize("labels", [["a", "b", "a"], "a,b,a"])
def test_labels_named_twice(labels):
    with pytest.raises(ValueError, match="candidate labels are named twice: a$"):
        label_phrases(labels, TEMPLATE)


@pytest.mark.parametrize("template", ["The ECG.", "{} and {}", "", None, "{label}"])
def test_a_template_without_one_place(template):
    with pytest.raises(ValueError, match="hypothesis_template must be a text with exactly one {}"):
        label_phrases(["a"], template)


@pytest.mark.parametrize("labels", [["a", " "], {"a": []}, {"a": ["x", " "]}, {"a": ""}])
def test_empty_phrases(labels):
    with pytest.raises(ValueError, match="candidate label .* has no phrase, or an empty one"):
        label_phrases(labels, TEMPLATE)


@pytest.mark.parametrize(
    "labels", [["a", 3], ["a", None], {"a": None}, {"a": [3]}, 3, b"a", np.arange(3), pd.Series([1])]
)
def test_labels_that_are_no_texts_are_refused_by_what_they_are(labels):
    with pytest.raises(TypeError, match="candidate_labels|phrases of 'a'"):
        label_phrases(labels, TEMPLATE)


@pytest.mark.parametrize(
    "labels",
    [
        (name for name in "ab"),
        map(str.lower, "AB"),
        np.array(["a", "b"]),
        pd.Series(["a", "b"]),
        {"a": 0, "b": 1}.keys(),
    ],
)
def test_labels_in_any_iterable_are_read_once(labels):
    assert label_phrases(labels, "the {}") == {"a": ["the a"], "b": ["the b"]}


SCALES = {"phrase_scale": 10.0, "comparison_scale": 10.0}


def labels_of(vectors):
    """One phrase a label."""
    return [row[None] for row in torch.as_tensor(vectors)]


def test_each_phrase_of_a_label_has_a_vector(tiny_model, tiny_processor):
    phrases = [["sinus rhythm", "normal ecg .", "no st deviation"], ["left bundle branch block"]]
    embeds = embed_phrases(tiny_model, tiny_processor, phrases)
    assert [tuple(own.shape) for own in embeds] == [(3, 17), (1, 17)]
    for phrase, vector in zip(sum(phrases, []), torch.cat(embeds), strict=True):
        tokens = tiny_processor(text=phrase, return_tensors="pt")
        with torch.no_grad():
            features = tiny_model.get_text_features(tokens["input_ids"], tokens["attention_mask"])[0]
        torch.testing.assert_close(vector, features / features.norm(), atol=1e-5, rtol=1e-5)


def test_phrases_are_joined_between_their_mean_and_the_most_similar():
    ecg = torch.tensor([[1.0, 0.0]])
    cosines = torch.tensor([0.9, 0.1, 0.2])
    label = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    joined = {scale: label_similarities(ecg, [label], phrase_scale=scale).item() for scale in (1e-3, 10.0, 1e3)}
    assert joined[1e-3] == pytest.approx(0.4, abs=1e-3)
    assert joined[1e3] == pytest.approx(0.9, abs=2e-3)
    assert joined[10.0] == pytest.approx(math.log((math.exp(9) + math.exp(1) + math.exp(2)) / 3) / 10)


def test_a_phrase_that_is_named_twice_does_not_count_twice_against_another_label():
    ecg, label = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0, 0.0]])
    once, twice = (label_similarities(ecg, [own], phrase_scale=10.0) for own in (label, label.repeat(2, 1)))
    torch.testing.assert_close(once, twice)


def test_scores_of_labels_together_by_hand():
    ecg = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    labels = labels_of([[1.0, 0.0], [0.0, 1.0]])
    scores = zero_shot_scores(ecg, labels, None, scale=30.0, phrase_scale=10.0, comparison_scale=5.0)
    expected = [[1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5))],
                [1 / (1 + math.exp(1)), 1 / (1 + math.exp(-1))],
                [1 / (1 + math.exp(-5)), 1 / (1 + math.exp(5))]]  # fmt: skip
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("neutral", [None, torch.tensor([0.8, 0.6])])
def test_independent_scores_by_hand(neutral):
    ecg = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, -1.0]])
    labels = labels_of([[1.0, 0.0], [0.0, 1.0]])
    scores = zero_shot_scores(ecg, labels, neutral, scale=torch.tensor(5.0), multi_label=True, **SCALES)
    against = [0.0] * 3 if neutral is None else [0.8, 0.96, -0.6]
    cosines = [[1 - against[0], 0 - against[0]], [0.6 - against[1], 0.8 - against[1]], [-against[2], -1 - against[2]]]
    expected = [[1 / (1 + math.exp(-5 * value)) for value in row] for row in cosines]
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-7)


def test_an_independent_score_does_not_depend_on_the_other_labels():
    generator = torch.Generator().manual_seed(0)
    ecg, labels, neutral = (torch.randn(*shape, generator=generator) for shape in ((3, 7), (4, 7), (7,)))
    labels = labels_of(labels)
    together = zero_shot_scores(ecg, labels, neutral, scale=2.0, multi_label=True, **SCALES)
    single = zero_shot_scores(ecg, labels[2:3], neutral, scale=2.0, **SCALES)
    torch.testing.assert_close(together[:, 2:3], single)
    assert not torch.allclose(zero_shot_scores(ecg, labels, neutral, scale=2.0, **SCALES), together)


def test_confident_scores_still_rank():
    ecg = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
    labels = labels_of([[1.0, 0.0], [0.0, 1.0]])
    scores = zero_shot_scores(ecg, labels, None, scale=30.0, phrase_scale=10.0, comparison_scale=30.0)
    first, second = scores[:, 0].tolist()
    assert first > second > 0.999999


def test_vectors_of_any_length_are_compared_by_their_cosine():
    """Those of a model that was trained by the dot product are not of length 1."""
    ecg, labels = torch.tensor([[0.6, 0.8], [1.0, 0.0]]), labels_of([[1.0, 0.0], [0.0, 1.0]])
    neutral = torch.tensor([0.8, 0.6])
    scaled = [7 * own for own in labels]
    for multi_label in (False, True):
        fields = {"scale": 3.0, "phrase_scale": 10.0, "comparison_scale": 5.0, "multi_label": multi_label}
        plain = zero_shot_scores(ecg, labels, neutral, **fields)
        torch.testing.assert_close(zero_shot_scores(20 * ecg, scaled, 3 * neutral, **fields), plain)
