"""What is said of a recording and its scores: nothing of a plain one, a line for each thing that is to be known."""

import pytest

from mets_ecg.remarks import answer_remarks, recording_remarks


def window(start, stop, *, num_qrs=10, masked=None, derived=()):
    return {"start": start, "stop": stop, "num_qrs": num_qrs, "masked": masked or {}, "derived": list(derived)}


def remarks(*windows, max_duration=10.0, whole=True, **fields):
    details = {"windows": list(windows), "limb_lead_error": 0.01, "largest_deflection": 1.5, "assumed": {}}
    details |= {"dropped_channels": [], "duration": windows[-1]["stop"]}
    return answer_remarks(details | fields, max_duration=max_duration, whole=whole)


def test_of_a_plain_recording_nothing_is_said():
    assert remarks(window(0, 10)) == []
    assert remarks(window(0, 10), limb_lead_error=None) == []
    assert remarks(window(0, 1.2), max_duration=None) == []  # of a model that takes any length
    assert remarks(window(25, 35), duration=60.0, whole=False) == []  # the middle was asked for


@pytest.mark.parametrize(
    ("windows", "fields", "said"),
    [
        ([window(0, 10, num_qrs=0)], {}, "no heart beat was found: the scores mean nothing"),
        (
            [window(0, 10), window(10, 20, num_qrs=0)],
            {},
            "no heart beat was found in 1 of 2 windows: their scores mean nothing, and are averaged all the same",
        ),
        (
            [window(0, 10)],
            {"limb_lead_error": 0.4},
            "the limb leads do not fit each other: are they what they are called?",
        ),
        (
            [window(0, 10)],
            {"largest_deflection": 0.09},
            "the largest deflection is 0.09 mV, small for an ECG: is the unit right?",
        ),
        (
            [window(0, 10)],
            {"largest_deflection": 30},
            "the largest deflection is 30 mV, large for an ECG: is the unit right?",
        ),
        (
            [window(0, 10, masked={"V1": "absent"}), window(10, 20, masked={"V2": "absent", "V3": "gaps"})],
            {},
            "masked: absent V1, V2; gaps V3",
        ),
        ([window(0, 10, derived=["III", "aVR"])], {}, "derived: III, aVR"),
        ([window(0, 1.2)], {}, "short: 1.2 s were read, and the model takes 10 s"),
        ([window(0, 10), window(20, 30)], {}, "not usable, and left out: 10.0 s of 30.0 s"),
        ([window(10, 20)], {"duration": 60.0}, "not usable, and left out: 50.0 s of 60.0 s"),
        ([window(0, 10)], {"assumed": {"units": "mV"}}, "assumed: units mV"),
        ([window(0, 10)], {"dropped_channels": ["Resp"]}, "left out: Resp"),
    ],
)
def test_what_is_to_be_known_is_said(windows, fields, said):
    assert remarks(*windows, **fields) == [said]


def test_a_recording_has_remarks_without_a_model():
    assert recording_remarks({"units": "mV"}, ["EMG"]) == ["left out: EMG", "assumed: units mV"]
