"""The waves of a simulated beat: a normal one, and what each finding changes in it.

A beat is a handful of Gaussian waves of a heart vector along x (left), y (feet) and z (back). Peaks, centres
and widths are hand-made until the leads look right to a reader of ECGs; they are not measured. Every
record draws its own amplitudes, axis, intervals and voltages around them, and a finding its own size, down to
slight ones. Times of beats, noise and leads: `simulator.py`, which also names the sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# Millivolt in a lead for one millivolt of heart vector along x (left), y (feet) and z (back).
DOWER_I_AND_II = np.array([[0.632, -0.235, 0.059], [0.235, 1.066, -0.132]])
DOWER_CHEST = np.array(
    [
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)


class Wave(NamedTuple):
    """A Gaussian wave: peak in mV along (x, y, z); centre, relative to the R wave, and width in s."""

    peak: np.ndarray
    centre: float
    width: float


Beat = dict[str, Wave]


def _beat(**waves: tuple[tuple[float, float, float], float, float]) -> Beat:
    return {name: Wave(np.array(peak), centre, width) for name, (peak, centre, width) in waves.items()}


_NORMAL_BEAT = _beat(
    p_right=((0.03, 0.07, -0.05), -0.165, 0.018),
    p_left=((0.06, 0.06, 0.03), -0.135, 0.020),
    qrs_septal=((-0.14, -0.04, -0.17), -0.026, 0.008),
    qrs_apical=((0.50, 0.50, -0.15), -0.010, 0.009),
    qrs_lateral=((0.85, 0.60, 0.45), 0.006, 0.010),
    qrs_basal=((-0.18, -0.15, 0.34), 0.028, 0.009),
    st=((0.0, 0.0, 0.0), 0.120, 0.040),
    t_early=((0.15, 0.10, -0.12), 0.235, 0.050),
    t_late=((0.20, 0.14, -0.15), 0.285, 0.032),
)
_NORMAL_PR = 0.155

# Slow left, backward activation with a notch on top: broad R in I and V6, deep S in V1 to V3.
_LBBB_QRS = _beat(
    qrs_septal=((0.06, 0.05, -0.08), -0.026, 0.009),
    qrs_apical=((0.70, 0.25, 0.50), 0.004, 0.019),
    qrs_lateral=((0.25, 0.10, 1.00), 0.043, 0.020),
    qrs_basal=((0.75, 0.10, 0.70), 0.083, 0.019),
)
_RBBB_TERMINAL = Wave(np.array((-0.52, 0.02, -0.64)), 0.068, 0.017)


def _shift(beat: Beat, prefix: str, seconds: float) -> None:
    for name in beat:
        if name.startswith(prefix):
            beat[name] = beat[name]._replace(centre=beat[name].centre + seconds)


def _add_repolarisation(beat: Beat, t_wave: Sequence[float], st: Sequence[float], *, replace: bool = False) -> None:
    """Add to both parts of the T wave and to the ST segment; `replace` drops the old T wave first."""
    for name, share in (("t_early", 0.43), ("t_late", 0.57)):
        old = np.zeros(3) if replace else beat[name].peak
        beat[name] = beat[name]._replace(peak=old + share * np.asarray(t_wave))
    beat["st"] = beat["st"]._replace(peak=beat["st"].peak + np.asarray(st))


def _atrial_fibrillation(beat: Beat, rng: np.random.Generator) -> None:
    del beat["p_right"], beat["p_left"]


def _first_degree_av_block(beat: Beat, rng: np.random.Generator) -> None:
    _shift(beat, "p_", -rng.uniform(0.08, 0.15))


def _hypertrophy(beat: Beat, rng: np.random.Generator) -> None:
    # The voltage itself is set in `_voltage_gain`; strain turns the T wave away from the left ventricle.
    depth = rng.uniform(0.3, 1.3)
    _add_repolarisation(
        beat, depth * np.array((-0.30, -0.05, -0.28)), depth * np.array((-0.10, -0.05, -0.04)), replace=True
    )


def _inferior_infarction(beat: Beat, rng: np.random.Generator) -> None:
    size = rng.uniform(0.5, 1.2)
    beat["qrs_septal"] = Wave(np.array((-0.08, -0.15 - 0.33 * size, -0.10)), -0.028, 0.012)
    beat["qrs_apical"] = beat["qrs_apical"]._replace(peak=beat["qrs_apical"].peak * (1.0, 0.3, 1.0))
    _add_repolarisation(beat, (0.0, -0.42 * size, 0.0), (0.0, rng.uniform(0.0, 0.12), 0.0))


def _anterior_infarction(beat: Beat, rng: np.random.Generator) -> None:
    size = rng.uniform(0.5, 1.2)
    # Added to what is there, so that an inferior infarction beside it keeps its Q waves.
    septal, apical = beat["qrs_septal"], beat["qrs_apical"]
    beat["qrs_septal"] = Wave(septal.peak + np.array((0.0, 0.0, 0.50 * size)), -0.024, 0.013)
    beat["qrs_apical"] = apical._replace(peak=apical.peak + np.array((-0.20, 0.0, 0.45 * size)))
    _add_repolarisation(beat, np.array((-0.25, 0.0, 0.55)) * size, (0.03, 0.0, -rng.uniform(0.0, 0.12)))


def _left_bundle_branch_block(beat: Beat, rng: np.random.Generator) -> None:
    beat |= _LBBB_QRS
    _scale_qrs_time(beat, rng.uniform(0.88, 1.12))
    _shift(beat, "t_", 0.05)
    _add_repolarisation(beat, (-0.26, -0.06, -0.42), (-0.05, 0.0, -0.12), replace=True)


def _right_bundle_branch_block(beat: Beat, rng: np.random.Generator) -> None:
    beat["qrs_terminal"] = _RBBB_TERMINAL._replace(peak=_RBBB_TERMINAL.peak * rng.uniform(0.6, 1.3))
    beat["qrs_basal"] = beat["qrs_basal"]._replace(peak=0.5 * beat["qrs_basal"].peak)
    _shift(beat, "qrs_terminal", rng.uniform(-0.006, 0.012))
    _shift(beat, "t_", 0.03)
    _add_repolarisation(beat, (0.0, 0.0, 0.28), (0.0, 0.0, 0.02))


# In the order they are applied: a block changes the QRS that an infarction or hypertrophy left.
_MORPHOLOGY: dict[str, Callable[[Beat, np.random.Generator], None]] = {
    "atrial fibrillation": _atrial_fibrillation,
    "first degree av block": _first_degree_av_block,
    "left ventricular hypertrophy": _hypertrophy,
    "inferior myocardial infarction": _inferior_infarction,
    "anterior myocardial infarction": _anterior_infarction,
    "left bundle branch block": _left_bundle_branch_block,
    "right bundle branch block": _right_bundle_branch_block,
}


def _scale_qrs_time(beat: Beat, factor: float) -> None:
    for name, wave in beat.items():
        if name.startswith("qrs"):
            beat[name] = wave._replace(centre=wave.centre * factor, width=wave.width * factor)


def sum_waves(beat: Beat, times: np.ndarray) -> np.ndarray:
    """Return the heart vector `(3, samples)` of a beat at times relative to its R wave."""
    peaks = np.stack([wave.peak for wave in beat.values()], axis=1)
    centres = np.array([[wave.centre] for wave in beat.values()])
    widths = np.array([[wave.width] for wave in beat.values()])
    return peaks @ np.exp(-0.5 * ((times - centres) / widths) ** 2)


def heart_rotation(rng: np.random.Generator) -> np.ndarray:
    """Return a rotation `(3, 3)` that turns the heart by some 14 degrees about each body axis."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(np.clip(rng.normal(0.0, 14.0, 3), -28.0, 28.0))):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        rotation = turn @ rotation
    return rotation


def _voltage_gain(beat: Beat, rotation: np.ndarray, sokolow_lyon: float) -> float:
    """Return the QRS factor that gives a beat this Sokolow-Lyon index, S V1 + R V5 or V6, in mV."""
    qrs = {name: wave for name, wave in beat.items() if name.startswith("qrs")}
    vector = sum_waves(qrs, np.linspace(-0.06, 0.08, 71))
    v1, v5, v6 = DOWER_CHEST[[0, 4, 5]] @ rotation @ vector
    return sokolow_lyon / (max(v5.max(), v6.max()) - v1.min())


def conducted_beat(findings: Sequence[str], rotation: np.ndarray, rr: float, rng: np.random.Generator) -> Beat:
    """Return the waves of this record's conducted beats at a mean RR interval in s."""
    beat = {
        name: Wave(wave.peak * rng.lognormal(0.0, 0.12) + rng.normal(0.0, 0.012, 3), wave.centre, wave.width)
        for name, wave in _NORMAL_BEAT.items()
    }
    t_size, p_size = rng.lognormal(0.0, 0.25), rng.lognormal(0.0, 0.3)
    if rng.random() < 0.2:  # unspecific T waves, so that the T wave alone gives no finding away
        _add_repolarisation(beat, rng.normal(0.0, 0.15, 3), (0.0, 0.0, 0.0))
    for name, wave in beat.items():
        size = t_size if name.startswith("t_") else p_size if name.startswith("p_") else 1.0
        beat[name] = wave._replace(peak=wave.peak * size)
    hypertrophy = "left ventricular hypertrophy" in findings
    gain = _voltage_gain(beat, rotation, rng.uniform(3.8, 5.2) if hypertrophy else rng.uniform(1.5, 3.3))
    _shift(beat, "p_", _NORMAL_PR - rng.uniform(0.12, 0.195 if rr > 0.62 else 0.15))
    _scale_qrs_time(beat, rng.uniform(0.90, 1.18))
    for name, change in _MORPHOLOGY.items():
        if name in findings:
            change(beat, rng)
    # The QT interval follows the cube root of RR (Fridericia); in atrial fibrillation, of its mean.
    stretch = rng.uniform(0.95, 1.05) * rr ** (1 / 3)
    for name, wave in beat.items():
        voltage = gain if name.startswith("qrs") else 1.0
        time = stretch if name.startswith(("st", "t_")) else 1.0
        beat[name] = Wave(voltage * rotation @ wave.peak, time * wave.centre, time * wave.width)
    return beat


def ectopic_beat(rr: float, rng: np.random.Generator) -> Beat:
    """Return a beat of the right or the left ventricle: wide, without a P wave, T against QRS."""
    towards = np.array((0.7, 0.4, 0.8)) if rng.random() < 0.6 else np.array((-0.6, -0.3, -0.9))
    first = (towards + rng.normal(0.0, 0.2, 3)) * rng.uniform(0.9, 1.7)
    second = 0.6 * first + rng.normal(0.0, 0.2, 3)
    stretch = rr ** (1 / 3)
    return {
        "qrs_first": Wave(first, 0.0, 0.030),
        "qrs_second": Wave(second, 0.060, 0.028),
        "t": Wave(-0.45 * first, 0.31 * stretch, 0.055 * stretch),
    }
