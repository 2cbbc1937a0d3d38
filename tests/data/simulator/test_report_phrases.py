from __future__ import annotations

import re

import numpy as np
import pytest

from mets_ecg.data.simulator.report_phrases import (
    FINDINGS,
    PHRASES,
    RHYTHMS,
    WORDINGS,
    check_findings,
    conflicts,
    describe,
)

# What a reader would take as naming each finding; "sinus rhythm" also by what only it has.
NAMES = {
    "sinus rhythm": r"(?<!slow )(?<!rapid )(?<!bradycardic )(?<!tachycardic )sinus rhythm",
    "sinus bradycardia": r"bradycardi",
    "sinus tachycardia": r"sinus tachycardia|tachycardic sinus|rapid sinus",
    "atrial fibrillation": r"fibrillation|afib|irregular",
    "ventricular tachycardia": r"ventricular tachycardia|qrs tachycardia|tachycardia of ventricular",
    "first degree av block": r"\bav |atrioventricular|\bpr\b",
    "left bundle branch block": r"left bundle|lbbb|left ventricular conduction",
    "right bundle branch block": r"right bundle|rbbb|right ventricular conduction",
    "left ventricular hypertrophy": r"hypertrophy|lvh|strain|voltage",
    "premature ventricular contractions": r"premature|pvc|extrasystol|ectopic",
    "inferior myocardial infarction": r"inferior|\bavf\b",
    "anterior myocardial infarction": r"anterior|v1 to v4",
}


def named_in(text):
    return [finding for finding in FINDINGS if re.search(NAMES[finding], text)]


def random_findings(rng):
    found = [RHYTHMS[rng.integers(len(RHYTHMS))]]
    for finding in FINDINGS:
        if rng.random() < 0.3 and not conflicts([*found, finding]):
            found.append(finding)
    return found


def test_every_finding_has_wordings_that_name_it_alone():
    assert set(NAMES) == set(FINDINGS)
    for finding, texts in WORDINGS.items():
        assert len(set(texts)) >= 4
        for text in texts:
            assert named_in(text) == [finding], text


def test_every_finding_has_phrases():
    for finding in FINDINGS:
        phrases = PHRASES[finding]
        assert 3 <= len(phrases) <= 6
        assert len(set(phrases)) == len(phrases)
        for phrase in phrases:
            assert phrase.endswith(".") and finding in named_in(phrase)
            assert set(named_in(phrase)) - {finding} <= set(RHYTHMS), phrase
    assert "sinus rhythm. left bundle branch block." in PHRASES["left bundle branch block"]


def test_a_report_names_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    for _ in range(400):
        findings = random_findings(rng)
        text, parts = describe(findings, rng=rng)
        assert sorted(named_in(text)) == sorted(findings), text
        assert all(part in text for part in parts) and len(parts) - len(findings) in (0, 1)
        assert "normal ecg" not in text.replace("abnormal ecg", "") or findings[0] in RHYTHMS[:3] and len(findings) == 1


def test_reports_vary_and_depend_on_findings_and_generator_alone():
    findings = ["atrial fibrillation", "right bundle branch block"]
    texts = [describe(findings, rng=np.random.default_rng(seed))[0] for seed in range(200)]
    assert len(set(texts)) > 50
    assert texts == [describe(reversed(findings), rng=np.random.default_rng(seed))[0] for seed in range(200)]


def test_findings_are_ordered_and_a_rhythm_is_added():
    assert check_findings([]) == ("sinus rhythm",)
    asked = ["premature ventricular contractions", "first degree av block", "first degree av block"]
    assert check_findings(asked) == ("sinus rhythm", "first degree av block", "premature ventricular contractions")


def test_an_unknown_finding_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown finding 'lbb'.*left bundle branch block, right bundle"):
        check_findings(["lbb"])
    with pytest.raises(TypeError, match="write \\['atrial fibrillation'\\]"):
        describe("atrial fibrillation", rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "pair",
    [
        ("sinus bradycardia", "sinus tachycardia"),
        ("left bundle branch block", "right bundle branch block"),
        ("atrial fibrillation", "first degree av block"),
        ("ventricular tachycardia", "inferior myocardial infarction"),
    ],
)
def test_findings_that_exclude_each_other_are_an_error(pair):
    with pytest.raises(ValueError, match=f"{pair[0]}.*{pair[1]}.*exclude"):
        check_findings(pair)
