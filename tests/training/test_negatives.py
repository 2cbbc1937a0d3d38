import numpy as np
import pytest
import torch

from mets_ecg.training import negatives
from mets_ecg.training.negatives import find_negatives, load_negatives


@pytest.fixture
def vectors():
    return torch.nn.functional.normalize(torch.randn(300, 8, generator=torch.Generator().manual_seed(0)), dim=1)


def ranks(vectors, candidates):
    """Rank of each candidate by similarity to its text, 0 the most similar of the others."""
    cosines = (vectors @ vectors.T).numpy()
    np.fill_diagonal(cosines, np.inf)
    order = np.argsort(-cosines, axis=1)[:, 1:]
    place = np.empty_like(order, shape=(len(vectors), len(vectors)))
    np.put_along_axis(place, order, np.arange(len(vectors) - 1)[None].repeat(len(vectors), 0), axis=1)
    return np.take_along_axis(place, candidates, axis=1)


@pytest.mark.parametrize(("band", "lowest", "highest"), [("farthest", 291, 298), ("semi-hard", 3, 29), ("hard", 0, 7)])
@pytest.mark.parametrize("block", [1024, 70])
def test_each_band_takes_its_ranks_and_never_the_text_itself(vectors, monkeypatch, band, lowest, highest, block):
    monkeypatch.setattr(negatives, "_BLOCK", block)
    found = find_negatives(vectors, band, 8)
    assert found.candidates.shape == (300, 8)
    assert (found.candidates != np.arange(300)[:, None]).all()
    own = ranks(vectors, found.candidates)
    assert own.min() == lowest and own.max() == highest
    cosines = (vectors @ vectors.T).numpy()
    drawn = (np.take_along_axis(cosines, found.candidates, 1) * found.probabilities).sum(axis=1)
    assert found.similarity == pytest.approx(drawn.mean(), abs=1e-5)
    others = cosines[~np.eye(300, dtype=bool)]
    assert found.random_similarity == pytest.approx(others.mean(), abs=1e-5)


def test_random_texts_are_neither_near_nor_far_and_the_same_each_time(vectors):
    found = find_negatives(vectors, "random", 20)
    assert (found.candidates != np.arange(300)[:, None]).all()
    assert all(len(set(own)) == 20 for own in found.candidates.tolist())
    assert ranks(vectors, found.candidates).mean() == pytest.approx(149, abs=5)
    assert found.similarity == pytest.approx(found.random_similarity, abs=0.02)
    assert np.array_equal(found.candidates, find_negatives(vectors, "random", 20).candidates)


def test_every_text_is_drawn_about_as_often_as_records_have_it(vectors):
    counts = np.random.default_rng(0).integers(1, 20, size=300)
    share = counts / counts.sum()
    found = find_negatives(vectors, "semi-hard", 30, share)
    assert np.allclose(found.probabilities.sum(axis=1), 1, atol=1e-5)
    often = np.bincount(found.candidates.ravel(), (share[:, None] * found.probabilities).ravel(), minlength=300)
    assert np.abs(often - share).sum() < 0.1
    assert found.told_by_text < 0.53
    generator = torch.Generator().manual_seed(0)
    drawn = [found.draw(5, generator) for _ in range(3000)]
    assert set(drawn) <= set(found.candidates[5].tolist())
    expected = dict(zip(found.candidates[5].tolist(), found.probabilities[5].tolist(), strict=True))
    for text, probability in expected.items():
        assert drawn.count(text) / 3000 == pytest.approx(probability, abs=0.04)


def test_what_a_text_alone_gives_away_is_told():
    """One text is the opposite of all others, and each has only that one."""
    vectors = torch.ones(200, 4) + 0.1 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    vectors[7] = -1
    found = find_negatives(vectors, "farthest", 1)
    assert found.told_by_text > 0.98
    assert "the text alone tells in at most 99% whether it belongs" in found.describe()


@pytest.mark.parametrize("count", [2, 3])
def test_a_small_pool_gives_what_it_has(count):
    found = find_negatives(torch.randn(count, 4), "semi-hard", 64)
    assert found.candidates.shape == (count, count - 1)
    assert (found.candidates != np.arange(count)[:, None]).all()


def test_one_text_cannot_be_replaced():
    with pytest.raises(ValueError, match="all records have one text: there is no other to stand in for it"):
        find_negatives(torch.ones(1, 4), "farthest", 64)


def test_lists_are_kept_and_found_again(tiny_text_model, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    texts = ["sinus rhythm", "atrial fibrillation", "left axis", "normal ecg"]
    first = load_negatives(texts, tiny_text_model, "hard", 2, shares=[0.2, 0.4, 0.2, 0.2])
    (saved,) = (tmp_path / "mets-ecg" / "negatives").iterdir()
    monkeypatch.setattr(negatives, "find_negatives", None)  # not called again
    again = load_negatives(texts, tiny_text_model, "hard", 2, shares=[0.2, 0.4, 0.2, 0.2])
    assert (again.candidates == first.candidates).all() and again.describe() == first.describe()
    monkeypatch.undo()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    load_negatives(texts[::-1], tiny_text_model, "hard", 2, shares=[0.2, 0.4, 0.2, 0.2])
    assert len(list(saved.parent.iterdir())) == 2
