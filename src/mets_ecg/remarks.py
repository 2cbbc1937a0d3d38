"""What is to be known of a recording and of the scores that it was given, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .leads import MAX_LIMB_LEAD_ERROR

# The largest deflection of an ECG, mV: of 4,000 records of PTB-XL's folds 1 to 8 none is smaller and 2 are larger.
USUAL_DEFLECTION = (0.3, 10.0)
# A recording is short if it fills less than this part of the model's window.
_ENOUGH = 0.6
_SHORTEST_GAP = 0.1  # s


def recording_remarks(assumed: Mapping[str, str], dropped_channels: Sequence[str]) -> list[str]:
    """Return what is to be known of a recording as it was read, a line each."""
    remarks = []
    if dropped_channels:
        remarks.append(f"left out: {', '.join(dropped_channels)}")
    if assumed:
        remarks.append(f"assumed: {', '.join(f'{name} {value}' for name, value in assumed.items())}")
    return remarks


def answer_remarks(details: Mapping, *, max_duration: float | None, whole: bool) -> list[str]:
    """Return what is to be known of scores, a line each.

    Args:
        details: of an answer; see `ZeroShotECGClassificationPipeline.__call__`.
        max_duration: of the feature extractor, s.
        whole: whether all of the recording was to be read.
    """
    windows, remarks = details["windows"], []
    silent = sum(not window["num_qrs"] for window in windows)
    if silent == len(windows):
        remarks.append("no heart beat was found: the scores mean nothing")
    elif silent:
        without = f"{silent} of {len(windows)} windows"
        remarks.append(
            f"no heart beat was found in {without}: their scores mean nothing, and are averaged all the same"
        )
    deflection, (low, high) = details["largest_deflection"], USUAL_DEFLECTION
    if not low <= deflection <= high:
        size = "small" if deflection < low else "large"
        remarks.append(f"the largest deflection is {deflection:.2g} mV, {size} for an ECG: is the unit right?")
    if (details["limb_lead_error"] or 0) > MAX_LIMB_LEAD_ERROR:
        remarks.append("the limb leads do not fit each other: are they what they are called?")
    by_reason: dict[str, list[str]] = {}
    for lead, why in {lead: why for window in windows for lead, why in window["masked"].items()}.items():
        by_reason.setdefault(why, []).append(lead)
    if by_reason:
        masked = (f"{why} {', '.join(leads)}" for why, leads in by_reason.items())
        remarks.append(f"masked: {'; '.join(masked)}")
    if derived := list(dict.fromkeys(lead for window in windows for lead in window["derived"])):
        remarks.append(f"derived: {', '.join(derived)}")
    seconds = windows[0]["stop"] - windows[0]["start"]
    if len(windows) == 1 and max_duration is not None and seconds < _ENOUGH * max_duration:
        remarks.append(f"short: {seconds:.1f} s were read, and the model takes {max_duration:g} s")
    if whole and (missing := sum(stop - start for start, stop in gaps(windows, details["duration"]))):
        remarks.append(f"not usable, and left out: {missing:.1f} s of {details['duration']:.1f} s")
    return remarks + recording_remarks(details["assumed"], details["dropped_channels"])


def gaps(windows: Sequence[Mapping], duration: float) -> list[tuple[float, float]]:
    """Return from when to when, in s, there is no window."""
    edges = [0.0, *(edge for window in windows for edge in (window["start"], window["stop"])), duration]
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return [(start, stop) for start, stop in pairs if stop - start > _SHORTEST_GAP]
