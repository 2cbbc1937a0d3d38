"""What each finding does to the beats, measured on noise-free records as a reader of ECGs would."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks

from mets_ecg.data.simulator.corpus import simulate_ecg
from mets_ecg.data.simulator.report_phrases import RHYTHMS
from mets_ecg.data.simulator.waves import Wave, heart_rotation, sum_waves
from mets_ecg.leads import STANDARD_LEADS

RATE = 500.0
SEEDS = range(12)


def clean(findings, seed):
    signal_mv = simulate_ecg(findings, rng=np.random.default_rng(seed), noise=0.0, sampling_rate=RATE)
    return dict(zip(STANDARD_LEADS, signal_mv.astype(np.float64), strict=True))


def qrs_windows(leads):
    """First and last sample of each QRS: where some lead moves faster than 12 mV/s, within 150 ms of the middle."""
    speed = np.abs(np.diff(np.stack(list(leads.values())), axis=1)).max(axis=0) * RATE
    energy = np.convolve(speed, np.ones(50) / 50, "same")
    peaks, _ = find_peaks(energy, height=0.4 * energy.max(), distance=int(0.24 * RATE))
    fast = [np.flatnonzero(speed[peak - 75 : peak + 75] > 12.0) + peak - 75 for peak in peaks[1:-1]]
    return [(samples[0], samples[-1]) for samples in fast]


def median_over_beats(leads, measure):
    return np.median([measure(first, last) for first, last in qrs_windows(leads)])


def qrs_ms(leads):
    return median_over_beats(leads, lambda first, last: (last - first) / RATE * 1000)


def qrs_part_mv(leads, lead, part):
    return median_over_beats(leads, lambda first, last: leads[lead][first:last][part].mean())


def initial_mv(leads, lead):
    """Mean deflection in the first 24 ms of the QRS: below zero where it begins with a Q wave."""
    values = leads[lead]
    return median_over_beats(leads, lambda first, last: values[first : first + 12].mean() - values[first])


def t_mv(leads, lead):
    """Value 0.2 s after the end of the QRS of slow sinus beats, near the top of the T wave."""
    return median_over_beats(leads, lambda first, last: leads[lead][last + 90 : last + 140].mean())


def test_a_sum_of_waves_is_the_gaussian_it_says():
    beat = {"a": Wave(np.array([1.0, 0.0, -2.0]), 0.1, 0.02), "b": Wave(np.array([0.0, 3.0, 0.0]), 0.5, 0.01)}
    vector = sum_waves(beat, np.array([0.1, 0.12, 0.5]))
    assert vector[:, 0] == pytest.approx([1.0, 0.0, -2.0])
    assert vector[:, 1] == pytest.approx(np.exp(-0.5) * np.array([1.0, 0.0, -2.0]))  # one width away
    assert vector[:, 2] == pytest.approx([0.0, 3.0, 0.0])


def test_a_heart_rotation_is_a_rotation_and_differs_between_records():
    first, second = (heart_rotation(np.random.default_rng(seed)) for seed in (0, 1))
    assert first @ first.T == pytest.approx(np.eye(3))
    assert np.linalg.det(first) == pytest.approx(1.0)
    assert np.abs(first - second).max() > 0.02


@pytest.mark.parametrize("finding", ["left bundle branch block", "right bundle branch block"])
def test_bundle_branch_block_widens_the_qrs(finding):
    assert max(qrs_ms(clean(["sinus rhythm"], seed)) for seed in SEEDS) < 115
    assert min(qrs_ms(clean([finding], seed)) for seed in SEEDS) > 120


def test_left_bundle_branch_block_points_left_and_backwards():
    for seed in SEEDS:
        leads = clean(["left bundle branch block"], seed)
        for lead, sign in (("V6", 1), ("I", 1), ("V1", -1)):
            area = qrs_part_mv(leads, lead, slice(None))
            assert sign * area > 0.05, (seed, lead)
            if lead != "I":
                assert sign * t_mv(leads, lead) < 0, (seed, lead)  # T against the QRS


def test_right_bundle_branch_block_ends_right_and_forwards():
    for seed in SEEDS:
        leads = clean(["right bundle branch block"], seed)
        for lead, sign in (("V1", 1), ("V6", -1)):
            late = qrs_part_mv(leads, lead, slice(-25, -10))
            assert sign * late > 0.1, (seed, lead)


def test_left_ventricular_hypertrophy_crosses_the_sokolow_lyon_limit():
    def sokolow_lyon(leads):
        return max(leads["V5"].max(), leads["V6"].max()) - leads["V1"].min()

    assert max(sokolow_lyon(clean(["sinus rhythm"], seed)) for seed in SEEDS) < 3.5
    hypertrophy = [clean(["left ventricular hypertrophy"], seed) for seed in SEEDS]
    assert min(map(sokolow_lyon, hypertrophy)) > 3.5
    assert max(t_mv(leads, "V6") for leads in hypertrophy) < 0.0  # strain


@pytest.mark.parametrize(
    ("finding", "q_leads"),
    [("inferior myocardial infarction", ("II", "III", "aVF")), ("anterior myocardial infarction", ("V1", "V2"))],
)
def test_infarction_starts_the_qrs_with_q_waves_in_its_leads(finding, q_leads):
    for lead in q_leads:
        healthy, infarcted = (
            [initial_mv(clean([name], seed), lead) for seed in SEEDS] for name in ("sinus rhythm", finding)
        )
        assert max(infarcted) < 0.0 and np.median(infarcted) < -0.08, (lead, infarcted)
        assert np.median(healthy) > -0.03, (lead, healthy)


def test_first_degree_av_block_moves_the_p_wave_away_from_the_qrs():
    def p_to_qrs_ms(leads):
        """Top of the P wave in II to the start of the QRS: some 50 ms shorter than the PR interval."""
        before = 25
        return median_over_beats(
            leads,
            lambda first, last: (before + np.argmax(leads["II"][first - before : first - 160 : -1])) / RATE * 1000,
        )

    for seed in SEEDS:  # the same heart with and without the block
        normal, blocked = (
            p_to_qrs_ms(clean(["sinus bradycardia", *more], seed)) for more in ([], ["first degree av block"])
        )
        assert 75 <= blocked - normal <= 155
        assert normal < 165 and blocked > 150


def test_ventricular_tachycardia_is_wide():
    widths = [qrs_ms(clean(["ventricular tachycardia"], seed)) for seed in SEEDS]
    assert np.median(widths) > 130


def test_records_of_one_finding_differ():
    for rhythm in RHYTHMS:
        leads = [clean([rhythm], seed) for seed in (1, 2)]
        assert np.abs(leads[0]["V5"] - leads[1]["V5"]).max() > 0.3
