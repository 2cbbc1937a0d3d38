"""Lead names, aliases, the limb leads that follow from two others, and the test of their order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mets_ecg.io import read_wfdb
from mets_ecg.leads import (
    LIMB_LEADS_FROM_I_AND_II,
    MAX_LIMB_LEAD_ERROR,
    NUM_STANDARD_LEADS,
    STANDARD_LEADS,
    arrange_leads,
    canonical_lead,
    canonical_leads,
    leads_from,
    limb_lead_error,
)

# One sample of lead I and of lead II, and what Einthoven and Goldberger give for the other four, by hand.
LIMB_VALUES = {"I": 0.6, "II": 1.0, "III": 0.4, "aVR": -0.8, "aVL": 0.1, "aVF": 0.7}


@pytest.fixture(scope="module")
def signal(ptb_xl_source):
    return read_wfdb(ptb_xl_source / "records500" / "00000" / "00338_hr").signal.astype(float)


def test_the_order_is_the_clinical_one():
    assert ", ".join(STANDARD_LEADS) == "I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6"
    assert NUM_STANDARD_LEADS == 12


@pytest.mark.parametrize(
    ("written", "lead"),
    [
        ("AVR", "aVR"),
        ("avf", "aVF"),
        (" v3 ", "V3"),
        ("ii", "II"),
        ("MLII", "II"),
        ("mlI", "I"),
        ("DI", "I"),
        ("D2", "II"),
        ("L3", "III"),
        ("C4", "V4"),
        ("Lead aVL", "aVL"),
        ("ECG_II", "II"),
        ("lead-v6", "V6"),
        ("MDC_ECG_LEAD_II", "II"),
        ("MDC_ECG_LEAD_AVF", "aVF"),
        ("Lead I (Einthoven)", "I"),
    ],
)
def test_names_are_known_in_any_case_and_by_their_aliases(written, lead):
    assert canonical_lead(written) == lead


@pytest.mark.parametrize("written", ["ECG", "V", "V7", "RESP", "", "IIII", "-aVR", "MV1"])
def test_an_unknown_name_is_refused_with_the_known_ones(written):
    with pytest.raises(ValueError, match="unknown lead .*aVR.*MLI") as error:
        canonical_lead(written)
    assert repr(written) in str(error.value)


def test_two_names_for_one_lead_are_refused():
    with pytest.raises(ValueError, match="duplicate lead II: named 'II' and 'MLII'"):
        canonical_leads(["I", "II", "MLII"])


def test_a_single_string_is_not_read_letter_by_letter():
    with pytest.raises(TypeError, match=r"write \['II'\]"):
        canonical_leads("II")


@pytest.mark.parametrize("pair", list(itertools.combinations(LIMB_VALUES, 2)), ids="-".join)
def test_any_two_limb_leads_give_the_other_four(pair):
    signal = np.array([[LIMB_VALUES[name]] * 3 for name in pair], dtype=np.float32)
    arranged, mask = arrange_leads(signal, pair, np.array([True, True]), STANDARD_LEADS)
    assert mask.tolist() == [name in LIMB_VALUES for name in STANDARD_LEADS]
    expected = [[LIMB_VALUES.get(name, 0.0)] * 3 for name in STANDARD_LEADS]
    np.testing.assert_allclose(arranged, expected, atol=1e-6)
    assert arranged.dtype == np.float32


def test_the_limb_leads_are_einthovens_and_goldbergers_on_a_varying_signal():
    one, two = np.random.default_rng(0).standard_normal((2, 7))
    arranged, _ = arrange_leads(
        np.stack([one, two]), ("I", "II"), np.array([True, True]), tuple(LIMB_LEADS_FROM_I_AND_II)
    )
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    np.testing.assert_allclose(arranged, expected, atol=1e-12)


def test_one_limb_lead_derives_none():
    _, mask = arrange_leads(np.ones((2, 4)), ("II", "V1"), np.array([True, True]), STANDARD_LEADS)
    assert [name for name, there in zip(STANDARD_LEADS, mask, strict=True) if there] == ["II", "V1"]


def test_a_recorded_lead_is_never_overwritten_where_it_breaks_the_law():
    signal = np.array([[0.6], [1.0], [9.0]])
    arranged, _ = arrange_leads(signal, ("I", "II", "III"), np.ones(3, dtype=bool), STANDARD_LEADS)
    assert arranged[STANDARD_LEADS.index("III"), 0] == 9.0
    np.testing.assert_allclose(arranged[STANDARD_LEADS.index("aVF"), 0], 0.7)


def test_a_lead_that_holds_nothing_usable_is_derived_and_derives_nothing():
    signal = np.array([[0.6], [123.0], [0.4]])
    arranged, mask = arrange_leads(signal, ("I", "II", "III"), np.array([True, False, True]), STANDARD_LEADS)
    np.testing.assert_allclose(arranged[:6, 0], list(LIMB_VALUES.values()), atol=1e-9)
    assert mask[:6].all() and not mask[6:].any()


def test_any_order_of_rows_gives_the_same_bits():
    signal = np.random.default_rng(1).standard_normal((12, 5)).astype(np.float32)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(12)[:9]
        names = [STANDARD_LEADS[i] for i in order]
        here = arrange_leads(signal[order], names, np.ones(9, dtype=bool), STANDARD_LEADS)
        there = arrange_leads(signal[np.sort(order)], sorted(names, key=STANDARD_LEADS.index), np.ones(9, bool),
                              STANDARD_LEADS)  # fmt: skip
        np.testing.assert_array_equal(here[0], there[0])
        np.testing.assert_array_equal(here[1], there[1])


def test_leads_in_their_order_obey_the_laws_and_in_another_they_do_not(signal):
    assert limb_lead_error(signal, STANDARD_LEADS) < 0.02 < MAX_LIMB_LEAD_ERROR
    names = list(STANDARD_LEADS)
    for i, j in ((0, 1), (1, 2), (3, 4), (0, 5)):
        swapped = list(names)
        swapped[i], swapped[j] = names[j], names[i]
        assert limb_lead_error(signal, swapped) > 0.5 > MAX_LIMB_LEAD_ERROR


def test_the_limb_leads_departure_is_a_part_of_the_amplitude(signal):
    changed = signal.copy()
    changed[2] += 0.1 * np.sqrt(np.mean([np.var(row) for row in signal[:6]])) * np.resize([1.0, -1.0], signal.shape[1])
    assert limb_lead_error(changed, STANDARD_LEADS) == pytest.approx(0.1, abs=0.01)
    assert limb_lead_error(5 * changed + 3, STANDARD_LEADS) == pytest.approx(0.1, abs=0.01)


def test_a_limb_lead_that_came_off_is_not_compared(signal):
    changed = signal.copy()
    changed[3] = 1.5
    assert limb_lead_error(changed, STANDARD_LEADS) < 0.02


def test_without_i_or_ii_or_another_limb_lead_nothing_is_compared(signal):
    changed = signal.copy()
    changed[1] = 0.0
    assert limb_lead_error(changed, STANDARD_LEADS) is None
    assert limb_lead_error(signal[:2], ("I", "II")) is None
    assert limb_lead_error(signal[1:], STANDARD_LEADS[1:]) is None
    assert limb_lead_error(np.zeros((12, 100)), STANDARD_LEADS) is None


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (["II"], ["II"]),
        (["MLII", "v1"], ["II", "V1"]),
        (["I", "II", "V2"], ["I", "II", "III", "aVR", "aVL", "aVF", "V2"]),
        (["aVF", "III"], ["I", "II", "III", "aVR", "aVL", "aVF"]),
    ],
)
def test_limb_leads_that_follow_come_with_those_recorded(names, given):
    assert [lead for lead, kept in zip(STANDARD_LEADS, leads_from(names, STANDARD_LEADS), strict=True) if kept] == given


def test_a_lead_that_the_model_does_not_have_is_named():
    with pytest.raises(ValueError, match="lead V2 is none of the model's: I, II"):
        leads_from(["V2"], ["I", "II"])
