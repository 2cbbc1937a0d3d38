"""Simulated 12-lead ECGs with known findings and reports, for teaching and tests: not physiology.

A record is a heart vector in three dimensions, a sum of Gaussian waves for each beat, seen through a fixed
matrix at nine electrodes. Noise and baseline wander are added at the electrodes and the leads are formed from
electrode potentials by definition, so Einthoven's and Goldberger's laws hold exactly, noise and all. A
finding changes the waves (`waves.py`) or the times of the beats (`_beat_times`). Rates, intervals,
amplitudes, heart axis, noise and wander differ from record to record; recordings of one patient have no more
than the patient in common.

Source: Gaussian waves after McSharry et al. 2003, doi:10.1109/TBME.2003.808805, summed in time, not
integrated; three dipole dimensions as in Sameni et al. 2007, doi:10.1155/2007/43407; the matrix is Dower's,
as in Edenbrandt and Pahlm, Journal of Electrocardiology 21(4), 361-367, 1988, leads I, II and V1 to V6,
rewritten as electrode potentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from ...leads import LIMB_LEADS_FROM_I_AND_II, STANDARD_LEADS
from ..rows import ROW_FORMAT_VERSION, corpus_features, encode_signal
from .report_phrases import FINDINGS, PHRASES, RHYTHMS, check_findings, conflicts, describe
from .waves import (
    DOWER_CHEST,
    DOWER_I_AND_II,
    Beat,
    conducted_beat,
    ectopic_beat,
    heart_rotation,
    sum_waves,
)

# Raise it when the same seed gives other rows: `datasets` keeps them in its cache by it.
SIMULATOR_VERSION = 1

__all__ = ["FINDINGS", "PHRASES", "check_findings", "describe", "simulate_corpus", "simulate_ecg"]


def _electrode_matrices() -> tuple[np.ndarray, np.ndarray]:
    """Return heart vector -> electrodes `(electrodes, 3)` and electrodes -> leads `(leads, electrodes)`.

    Electrodes are RA, LA, LL, then those of the chest leads. Potentials are relative to Wilson's central
    terminal, the mean of the limb electrodes: with I = LA - RA and II = LL - RA it follows that RA = -(I +
    II) / 3.
    """
    right_arm = -DOWER_I_AND_II.sum(axis=0) / 3
    potentials = np.vstack([right_arm, right_arm + DOWER_I_AND_II, DOWER_CHEST])
    one_and_two = np.zeros((2, len(potentials)))
    one_and_two[:, 0], one_and_two[0, 1], one_and_two[1, 2] = -1.0, 1.0, 1.0
    chest = np.eye(len(potentials))[3:]
    chest[:, :3] -= 1 / 3
    chest_rows = iter(chest)
    rows = [
        np.asarray(LIMB_LEADS_FROM_I_AND_II[name]) @ one_and_two
        if name in LIMB_LEADS_FROM_I_AND_II
        else next(chest_rows)
        for name in STANDARD_LEADS
    ]
    return potentials, np.stack(rows)


ELECTRODES_FROM_HEART, LEADS_FROM_ELECTRODES = _electrode_matrices()


def _draw_rate(findings: Sequence[str], rng: np.random.Generator) -> float:
    """Return the mean ventricular rate of a record, per minute, clear of the limits at 60 and 100."""
    low, high = {
        "sinus rhythm": (62.0, 95.0),
        "sinus bradycardia": (38.0, 55.0),
        "sinus tachycardia": (106.0, 145.0),
        "atrial fibrillation": (60.0, 135.0),
        "ventricular tachycardia": (130.0, 190.0),
    }[findings[0]]
    if "first degree av block" in findings:
        high = max(low, min(high, 80.0))  # faster, and the P wave hides in the T wave before it
    return rng.uniform(low, high)


def _beat_times(findings: Sequence[str], rate: float, duration: float, rng: np.random.Generator) -> np.ndarray:
    """Return the times of the conducted beats, in s, from before the record to after it."""
    rr = 60.0 / rate
    count = int((duration + 4.0) / rr) + 8
    if findings[0] == "atrial fibrillation":
        variation = rng.uniform(0.14, 0.30)
        intervals = np.maximum(rr * variation**2 * rng.gamma(variation**-2, size=count), 0.28)
        return np.cumsum(intervals) - 2.0 - rr * rng.random()
    # Respiratory sinus arrhythmia and a slow wave of some 0.1 Hz; both shrink when the heart is fast.
    depth = rng.uniform(0.1, 1.0) * (0.07 if rr > 0.6 else 0.02)
    times = np.arange(count) * rr
    phases = rng.uniform(0.0, 2.0 * np.pi, 2)
    variation = depth * np.sin(2.0 * np.pi * rng.uniform(0.2, 0.33) * times + phases[0])
    variation += 0.6 * depth * np.sin(2.0 * np.pi * rng.uniform(0.07, 0.12) * times + phases[1])
    variation += rng.normal(0.0, 0.006, count)
    return np.cumsum(rr * (1.0 + variation)) - 2.0 - rr * rng.random()


def _premature(times: np.ndarray, duration: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return beat times with some beats early, and which ones; never two in a row, at least one well inside.

    The beat after an early one keeps its time, which makes the pause compensatory.
    """
    early = rng.uniform(0.55, 0.72)
    intervals = np.diff(times, prepend=2 * times[0] - times[1])
    moved = times - intervals * (1.0 - np.maximum(early, np.minimum(0.30 / intervals, 0.85)))
    inside = np.flatnonzero((moved > 0.4) & (moved < duration - 0.6))
    wanted = max(1, int(round(rng.uniform(0.1, 0.3) * len(inside))))
    chosen = np.zeros(len(times), dtype=bool)
    for k in rng.permutation(inside):
        if chosen.sum() < wanted and not chosen[k - 1 : k + 2].any():
            chosen[k] = True
    return np.where(chosen, moved, times), chosen


def _place_beats(
    beats: Sequence[Beat], kinds: np.ndarray, onsets: np.ndarray, sizes: np.ndarray, times: np.ndarray
) -> np.ndarray:
    """Return the heart vector `(3, samples)`: at each onset the beat of that kind, evaluated near it only."""
    vector = np.zeros((3, len(times)))
    reach = [
        (
            min(w.centre - 5 * w.width for w in beat.values()),
            max(w.centre + 5 * w.width for w in beat.values()),
        )
        for beat in beats
    ]
    for kind, onset, size in zip(kinds, onsets, sizes, strict=True):
        first, last = np.searchsorted(times, (onset + reach[kind][0], onset + reach[kind][1]))
        if first < last:
            vector[:, first:last] += size * sum_waves(beats[kind], times[first:last] - onset)
    return vector


def _fibrillatory_waves(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return f waves `(3, samples)`: 4 to 9 Hz with drifting pitch and size, largest in V1 and II."""
    direction = rng.uniform(0.03, 0.11) * (np.array((-0.2, 0.6, -0.8)) + rng.normal(0.0, 0.1, 3))
    pitch, drift = rng.uniform(4.5, 8.0), rng.uniform(0.3, 0.8)
    start, slow = rng.uniform(0.0, 2.0 * np.pi, 2)
    phase = 2.0 * np.pi * pitch * times + 1.2 * np.sin(2.0 * np.pi * drift * times + slow) + start
    size = 1.0 + 0.35 * np.sin(2.0 * np.pi * 0.61 * drift * times + start)
    return direction[:, None] * (size * (np.sin(phase) + 0.3 * np.sin(2.0 * phase + slow)))


def _electrode_noise(times: np.ndarray, sampling_rate: float, rng: np.random.Generator) -> np.ndarray:
    """Return noise `(electrodes, samples)` in mV: white, muscle, mains and baseline wander."""
    electrodes = len(ELECTRODES_FROM_HEART)
    level = rng.uniform(0.2, 1.0, 4) ** 1.5
    wander_rates = np.array([rng.uniform(0.18, 0.33), rng.uniform(0.04, 0.12), rng.uniform(0.3, 0.6)])
    weights = rng.normal(0.0, 0.13 * level[0], (electrodes, 6)) * np.tile((1.0, 1.0, 0.3), 2)
    angles = 2.0 * np.pi * wander_rates[:, None] * times
    noise = weights @ np.vstack([np.sin(angles), np.cos(angles)])
    mains, affected = rng.choice([50.0, 60.0]), rng.random() < 0.3
    coupling = rng.normal(0.0, 0.012 * level[1], (electrodes, 1))
    if affected and mains < 0.45 * sampling_rate:  # a recorder's own filter leaves none of it at lower rates
        noise += coupling * np.sin(2.0 * np.pi * mains * times)
    # The same spectral density at every sampling rate; muscle noise is differentiated and comes in bursts.
    density = np.sqrt(sampling_rate / 500.0)
    bursts = 1.0 + np.sin(2.0 * np.pi * rng.uniform(0.1, 0.5) * times + rng.uniform(0.0, 6.0))
    noise += 0.030 * density * level[2] * rng.standard_normal((electrodes, len(times)), dtype=np.float32)
    muscle = np.diff(rng.standard_normal((electrodes, len(times) + 1), dtype=np.float32), axis=1)
    return noise + 0.020 * density * level[3] * bursts * muscle


def simulate_ecg(
    findings: Iterable[str],
    *,
    rng: np.random.Generator,
    duration: float = 10.0,
    sampling_rate: float = 500.0,
    noise: float = 1.0,
) -> np.ndarray:
    """Return a simulated 12-lead ECG that shows these findings.

    Left bundle branch block hides infarctions and hypertrophy, here as on paper; the combination is allowed.

    Args:
        findings: names out of `FINDINGS`; sinus rhythm where no rhythm is named.
        rng: the only source of chance. The heart is drawn before the noise and without regard to the sampling
            rate, so the same seed at 100 and 500 Hz gives the same beats.
        duration: seconds, at least 3 (a premature beat must fit in).
        sampling_rate: Hz, at least 50.
        noise: factor on noise and baseline wander; 0 gives a clean record.

    Returns:
        `(leads, samples)` float32, millivolt, in the order of `STANDARD_LEADS`.

    Raises:
        ValueError: a finding is unknown, two exclude each other, or a number is out of range.
        TypeError: `findings` is a single string.

    Example:
        >>> signal_mv = simulate_ecg(["atrial fibrillation"], rng=np.random.default_rng(0), duration=4.0)
        >>> signal_mv.shape
        (12, 2000)
    """
    names = check_findings(findings)
    for field, value, least in (
        ("duration", duration, 3.0),
        ("sampling_rate", sampling_rate, 50.0),
        ("noise", noise, 0.0),
    ):
        if not (least <= value < np.inf):
            raise ValueError(f"{field}={value!r}: expected a number of at least {least:g}")
    times = np.arange(round(duration * sampling_rate)) / sampling_rate
    rate, rotation = _draw_rate(names, rng), heart_rotation(rng)
    rr = 60.0 / rate
    onsets = _beat_times(names, rate, duration, rng)
    ventricular = names[0] == "ventricular tachycardia"
    beats = [ectopic_beat(rr, rng) if ventricular else conducted_beat(names, rotation, rr, rng)]
    ectopic = np.zeros(len(onsets), dtype=bool)
    if "premature ventricular contractions" in names:
        onsets, ectopic = _premature(onsets, duration, rng)
        beats.append(ectopic_beat(rr, rng))
    breathing = 2.0 * np.pi * (rng.uniform(0.2, 0.33) * onsets + rng.random())
    sizes = 1.0 + rng.uniform(0.01, 0.06) * np.sin(breathing)
    vector = _place_beats(beats, ectopic.astype(int), onsets, sizes, times)
    if names[0] == "atrial fibrillation":
        vector += _fibrillatory_waves(times, rng)
    potentials = ELECTRODES_FROM_HEART @ vector
    if noise:
        potentials += noise * _electrode_noise(times, sampling_rate, rng)
    return (LEADS_FROM_ELECTRODES @ potentials).astype(np.float32)


# Chance of each finding in a corpus record, such that a thousand records hold enough of each for an AUC.
_RHYTHM_CHANCES = (0.34, 0.18, 0.18, 0.20, 0.10)
_CHANCES = {
    "left bundle branch block": 0.14,
    "right bundle branch block": 0.16,
    "first degree av block": 0.22,
    "left ventricular hypertrophy": 0.18,
    "premature ventricular contractions": 0.16,
    "inferior myocardial infarction": 0.16,
    "anterior myocardial infarction": 0.15,
}
_HIDDEN_BY_LBBB = (
    "left ventricular hypertrophy",
    "inferior myocardial infarction",
    "anterior myocardial infarction",
)


def _draw_findings(rng: np.random.Generator, allowed: Sequence[str]) -> list[str]:
    """Return random compatible findings out of `allowed`; none that another would hide from a reader."""
    chances = [chance * (name in allowed) for name, chance in zip(RHYTHMS, _RHYTHM_CHANCES, strict=True)]
    found = [RHYTHMS[rng.choice(len(RHYTHMS), p=np.array(chances) / sum(chances))]]
    for name, chance in _CHANCES.items():
        drawn = rng.random() < chance and name in allowed
        hidden = (name in _HIDDEN_BY_LBBB and "left bundle branch block" in found) or (
            name == "first degree av block" and found[0] == "sinus tachycardia"
        )
        if drawn and not hidden and not conflicts([*found, name]):
            found.append(name)
    return found


def simulate_row(
    index: int,
    *,
    seed: int,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    held_out: Sequence[str] = (),
) -> dict:
    """Return corpus row `index`, a function of its arguments only: any subset of a corpus has the same rows.

    Rows 2k and 2k + 1 share a fold and, in every third pair, a patient; no patient is in two folds.
    """
    pair = index // 2
    fold = pair % 10 + 1
    shared = pair % 3 == 0
    patient = np.random.default_rng([seed, pair, 0 if shared else 1 + index % 2, 1])
    sex, age = ("male", "female")[patient.integers(2)], float(patient.integers(25, 90))
    rng = np.random.default_rng([seed, index])
    allowed = [name for name in FINDINGS if fold > 8 or name not in held_out]
    findings = _draw_findings(rng, allowed)
    signal_mv = simulate_ecg(findings, rng=rng, duration=duration, sampling_rate=sampling_rate)
    report, parts = describe(findings, rng=rng)
    return {
        "record_id": f"sim-{index:06d}",
        "patient_id": f"sim-p{2 * pair if shared else index:06d}",
        **encode_signal(signal_mv),
        "sampling_rate": sampling_rate,
        "lead_names": list(STANDARD_LEADS),
        "report": report,
        "report_en": report,
        "findings": parts,
        "statements": [],
        "labels_findings": [name for name in FINDINGS if name in findings],
        "age": age,
        "age_over_89": False,
        "sex": sex,
        "device": "simulator",
        "fold": fold,
        "start_time": None,
    }


def _rows(indices: Sequence[int], versions: tuple[int, int], **arguments) -> Iterator[dict]:
    for index in indices:
        yield simulate_row(index, **arguments)


def simulate_corpus(
    num_records: int,
    *,
    seed: int = 0,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    held_out: Iterable[str] = (),
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
) -> Dataset:
    """Return a corpus of simulated records with findings, reports, patients and ten folds.

    Args:
        num_records: how many rows; the first rows of a larger corpus are the smaller corpus.
        seed: row `i` is a function of `(seed, i)` and the arguments below.
        sampling_rate: Hz.
        duration: seconds.
        held_out: findings that no record of folds 1 to 8 shows or names, while folds 9 and 10 have them at
            their usual rate: a model trained on folds 1 to 8 meets them first at evaluation. Where fold 9
            chooses anything (an epoch, a threshold), only fold 10 is evidence.
        num_proc: processes; the rows do not depend on it.
        cache_dir: where `datasets` keeps the Arrow file; its default cache if None.

    Returns:
        Rows with the columns of `corpus_features`, label column `labels_findings`.

    Raises:
        ValueError: `num_records` is below 1, a held-out finding is unknown, or every rhythm is held out.
        TypeError: `held_out` is a single string.
    """
    if num_records < 1:
        raise ValueError(f"num_records={num_records!r}: expected at least 1")
    if isinstance(held_out, str):
        raise TypeError(f"held_out must be a list of findings, got the string {held_out!r}: write [{held_out!r}]")
    held_out = tuple(held_out)
    for name in held_out:
        check_findings([name])
    if set(RHYTHMS) <= set(held_out):
        raise ValueError(f"every rhythm is held out: a record needs one of {', '.join(RHYTHMS)}")
    arguments = {"seed": seed, "sampling_rate": sampling_rate, "duration": duration, "held_out": held_out}
    return Dataset.from_generator(
        _rows,
        features=corpus_features({"labels_findings": FINDINGS}),
        cache_dir=None if cache_dir is None else str(cache_dir),
        gen_kwargs={
            "indices": list(range(num_records)),
            "versions": (ROW_FORMAT_VERSION, SIMULATOR_VERSION),
            **arguments,
        },
        num_proc=num_proc,
    )
