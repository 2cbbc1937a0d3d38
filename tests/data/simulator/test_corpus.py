from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks

from mets_ecg.data.simulator.corpus import (
    ELECTRODES_FROM_HEART,
    FINDINGS,
    LEADS_FROM_ELECTRODES,
    PHRASES,
    RHYTHMS,
    SIMULATOR_VERSION,
    _premature,
    simulate_corpus,
    simulate_ecg,
    simulate_row,
)
from mets_ecg.leads import STANDARD_LEADS

RATE = 500.0


def simulate(findings, seed, **options):
    return simulate_ecg(findings, rng=np.random.default_rng(seed), **options)


def slope_energy(findings, seed):
    """Slope over all leads of a clean record of 20 s, mean over 100 ms: a hill at each QRS."""
    slope = np.linalg.norm(np.diff(simulate(findings, seed, noise=0.0, duration=20.0), axis=1), axis=0)
    return np.convolve(slope, np.ones(50) / 50, "same")


def beats(findings, seed):
    energy = slope_energy(findings, seed)
    return find_peaks(energy, height=0.35 * energy.max(), distance=int(0.24 * RATE))[0]


def rr_intervals(findings, seed):
    return np.diff(beats(findings, seed)) / RATE


@pytest.mark.parametrize("finding", FINDINGS)
def test_limb_leads_obey_einthoven_and_goldberger_noise_and_all(finding):
    leads = dict(zip(STANDARD_LEADS, simulate([finding], 4, duration=5.0, noise=3.0), strict=True))
    one, two = leads["I"], leads["II"]
    expected = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    for name, values in expected.items():
        assert np.abs(values).max() > 0.1
        np.testing.assert_allclose(leads[name], values, atol=2e-6)


def test_no_lead_sees_what_all_electrodes_share():
    # Leads are differences of potentials, chest leads against the mean of the limbs (Wilson).
    assert np.abs(LEADS_FROM_ELECTRODES.sum(axis=1)).max() < 1e-12
    chest = LEADS_FROM_ELECTRODES[STANDARD_LEADS.index("V1")]
    assert chest[:4] == pytest.approx([-1 / 3, -1 / 3, -1 / 3, 1.0])


def test_a_clean_record_follows_the_published_dower_matrix():
    matrix = dict(zip(STANDARD_LEADS, LEADS_FROM_ELECTRODES @ ELECTRODES_FROM_HEART, strict=True))
    # Rows that the simulator derives and does not copy, to the three digits of the publication.
    published = {"III": (-0.397, 1.301, -0.191), "aVR": (-0.434, -0.415, 0.037), "aVF": (-0.081, 1.184, -0.162)}
    for lead, row in published.items():
        np.testing.assert_allclose(matrix[lead], row, atol=0.0015)
    assert matrix["V2"] == pytest.approx([0.044, 0.164, -1.387])


def test_shape_order_and_unit():
    signal_mv = simulate(["sinus rhythm"], 0, duration=7.01, sampling_rate=250.0)
    assert signal_mv.shape == (len(STANDARD_LEADS), 1752) and signal_mv.dtype == np.float32
    clean = simulate(["sinus rhythm"], 0, noise=0.0)
    assert clean[STANDARD_LEADS.index("aVR")].mean() < 0 < clean[STANDARD_LEADS.index("V5")].mean()
    assert 0.5 < np.abs(clean).max() < 5.0


def test_same_seed_same_record_and_another_seed_another():
    findings = ["atrial fibrillation", "premature ventricular contractions"]
    assert np.array_equal(simulate(findings, 3), simulate(findings, 3))
    assert not np.array_equal(simulate(findings, 3), simulate(findings, 4))


def test_the_sampling_rate_does_not_change_the_heart():
    findings = ["atrial fibrillation", "premature ventricular contractions"]
    fast, slow = (simulate(findings, 5, noise=0.0, sampling_rate=rate) for rate in (500.0, 100.0))
    np.testing.assert_allclose(fast[:, ::5], slow, atol=1e-5)


def test_noise_is_added_to_the_same_heart_and_scales():
    clean, noisy, noisier = (simulate(["sinus rhythm"], 6, noise=level) for level in (0.0, 1.0, 2.0))
    assert 0.005 < (noisy - clean).std() < 0.5
    np.testing.assert_allclose(noisier - clean, 2 * (noisy - clean), atol=1e-5)


@pytest.mark.parametrize(
    ("rhythm", "low", "high"),
    [
        ("sinus rhythm", 60, 100),
        ("sinus bradycardia", 30, 60),
        ("sinus tachycardia", 100, 160),
        ("ventricular tachycardia", 120, 200),
    ],
)
def test_the_measured_rate_is_that_of_the_rhythm(rhythm, low, high):
    rates = [60.0 / np.median(rr_intervals([rhythm], seed)) for seed in range(12)]
    assert low < min(rates) and max(rates) < high
    assert np.ptp(rates) > 5  # and not the same in every record


def test_atrial_fibrillation_is_irregular_and_has_no_p_waves():
    def variation(rhythm):
        return [np.std(rr) / np.mean(rr) for rr in (rr_intervals([rhythm], seed) for seed in range(12))]

    assert min(variation("atrial fibrillation")) > 0.1
    sinus = variation("sinus rhythm")
    assert min(sinus) > 0.005 and max(sinus) < 0.1  # some variability, but less


def test_a_premature_beat_comes_early_and_the_beats_around_it_keep_their_time():
    for seed in range(12):
        places = beats(["sinus rhythm"], seed)  # the same heart without premature beats
        without = slope_energy(["sinus rhythm"], seed)
        energy = slope_energy(["sinus rhythm", "premature ventricular contractions"], seed)
        usual = np.median(energy[places])
        missing = [k for k in range(1, len(places) - 1) if energy[places[k]] < 0.5 * usual]
        assert 1 <= len(missing) <= 0.4 * len(places)
        for k in missing:
            assert energy[places[k - 1]] > 0.5 * usual and energy[places[k + 1]] > 0.5 * usual
            between = slice(places[k - 1] + 150, places[k] - 25)
            assert (energy - without)[between].max() > 0.1 * usual  # wide, so less steep


def test_times_of_premature_beats():
    times = np.arange(-2.0, 13.0, 0.8)
    moved, early = _premature(times, 10.0, np.random.default_rng(0))
    assert early.sum() >= 1 and not (early[1:] & early[:-1]).any()
    assert np.array_equal(moved[~early], times[~early])  # the pause compensates
    assert np.all((moved[early] > 0.4) & (moved[early] < 9.4))
    ratios = (moved[early] - times[np.flatnonzero(early) - 1]) / 0.8
    assert np.all((ratios > 0.5) & (ratios < 0.75))


@pytest.mark.parametrize("seed", range(8))
def test_even_a_short_record_shows_its_premature_beat(seed):
    findings = ["sinus bradycardia", "premature ventricular contractions"]
    without = simulate(findings[:1], seed, duration=3.0, noise=0.0, sampling_rate=100.0)
    assert np.abs(simulate(findings, seed, duration=3.0, noise=0.0, sampling_rate=100.0) - without).max() > 0.3


def test_findings_combine():
    both = simulate(["atrial fibrillation", "inferior myocardial infarction", "left ventricular hypertrophy"], 0)
    assert np.isfinite(both).all() and np.abs(both).max() > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [({"duration": 1.0}, "duration=1.0"), ({"sampling_rate": 0.0}, "sampling_rate"), ({"noise": -1.0}, "noise")],
)
def test_a_number_out_of_range_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        simulate(["sinus rhythm"], 0, **options)


def test_unknown_and_incompatible_findings_are_errors():
    with pytest.raises(ValueError, match="known findings are sinus rhythm, "):
        simulate(["heart block"], 0)
    with pytest.raises(ValueError, match="exclude each other"):
        simulate(["left bundle branch block", "right bundle branch block"], 0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return simulate_corpus(400, seed=7, duration=3.0, cache_dir=tmp_path_factory.mktemp("corpus"))


def test_a_corpus_is_its_rows_whatever_its_size_and_processes(corpus, tmp_path):
    part = simulate_corpus(21, seed=7, duration=3.0, num_proc=2, cache_dir=tmp_path)
    assert part[:] == corpus[:21]
    row = simulate_row(20, seed=7, duration=3.0)
    assert part[20]["report"] == row["report"]
    assert np.array_equal(part[20]["signal"], row["signal"])
    other = simulate_corpus(21, seed=8, duration=3.0, cache_dir=tmp_path)
    assert other["report"][:] != part["report"][:]


def test_a_row_is_complete(corpus):
    row = corpus[12]
    assert row["record_id"] == "sim-000012" and row["lead_names"] == list(STANDARD_LEADS)
    assert np.shape(row["signal"]) == (len(STANDARD_LEADS), 300) and row["num_samples"] == 300
    assert row["sampling_rate"] == 100.0 and row["sex"] in ("male", "female") and 0 < row["age"] < 90
    assert corpus.features["labels_findings"].feature.names == list(FINDINGS) == list(PHRASES)


def test_patients_stay_in_one_fold_and_folds_are_even(corpus):
    folds_of = {}
    for patient, fold in zip(corpus["patient_id"], corpus["fold"], strict=True):
        folds_of.setdefault(patient, []).append(fold)
    assert all(len(set(folds)) == 1 and len(folds) <= 2 for folds in folds_of.values())
    assert max(map(len, folds_of.values())) == 2
    assert np.bincount(corpus["fold"], minlength=11)[1:].tolist() == [40] * 10


def test_every_finding_is_frequent_and_each_record_has_one_rhythm(corpus):
    labels = [set(np.array(FINDINGS)[ids]) for ids in corpus["labels_findings"]]
    assert all(len(found & set(RHYTHMS)) == 1 for found in labels)
    for finding in FINDINGS:
        assert 0.06 < np.mean([finding in found for found in labels]) < 0.42, finding


def test_a_held_out_finding_is_absent_from_training_folds_and_present_after(tmp_path):
    held_out = ["ventricular tachycardia", "anterior myocardial infarction"]
    rows = simulate_corpus(300, held_out=held_out, duration=3.0, cache_dir=tmp_path)
    for finding in held_out:
        label = FINDINGS.index(finding)
        folds = [fold for ids, fold in zip(rows["labels_findings"], rows["fold"], strict=True) if label in ids]
        assert set(folds) == {9, 10}
    for report, fold in zip(rows["report"], rows["fold"], strict=True):
        assert fold > 8 or not any(word in report for word in ("anterior", "v1 to v4", "ventricular tachy"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_records": 0}, "num_records=0"),
        ({"held_out": ["flutter"]}, "unknown finding 'flutter'"),
        ({"held_out": RHYTHMS}, "every rhythm is held out"),
    ],
)
def test_a_corpus_that_cannot_be_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_corpus(**({"num_records": 3} | options))


def test_rows_do_not_change_without_a_new_version(tmp_path, monkeypatch):
    """If the first lines fail, raise `SIMULATOR_VERSION` and write the new rows."""
    row = simulate_row(0, seed=1)
    assert SIMULATOR_VERSION == 1
    assert row["report"] == "sinus bradycardia; wide qrs with right bundle branch block; abnormal ecg."
    np.testing.assert_allclose(row["signal"][1][::250], [258, -19, -78, -61], atol=1)
    first, again = (simulate_corpus(2, duration=3.0, cache_dir=tmp_path) for _ in range(2))
    monkeypatch.setattr("mets_ecg.data.simulator.corpus.SIMULATOR_VERSION", SIMULATOR_VERSION + 1)
    newer = simulate_corpus(2, duration=3.0, cache_dir=tmp_path)
    assert first._fingerprint == again._fingerprint != newer._fingerprint
