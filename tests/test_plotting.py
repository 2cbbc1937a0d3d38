"""The ECG on paper: physical scale, what is written where, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.plotting import heart_rate, plot_ecg, plot_scores

RATE = 250.0


def make_ecg(duration_s: float = 10.0, leads: int = len(STANDARD_LEADS), amplitude: float = 1.0) -> np.ndarray:
    """A narrow spike of 1 mV each second on a slow wave, the median of which is about 0."""
    t = np.arange(round(duration_s * RATE)) / RATE
    beat = amplitude * np.exp(-(((t % 1.0) - 0.5) ** 2) / (2 * 0.01**2)) + 0.05 * np.sin(2 * np.pi * t)
    return np.repeat(beat[None], leads, axis=0)


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def artist(figure, gid: str):
    found = figure.findobj(lambda item: item.get_gid() == gid)
    assert len(found) == 1, f"{len(found)} artists are called {gid}"
    return found[0]


def millimetres(figure, gid: str) -> np.ndarray:
    """Where a line lands on the page, `(points, 2)` mm, by way of pixels and the figure's resolution."""
    line = artist(figure, gid)
    pixels = line.get_transform().transform(np.column_stack(line.get_data()))
    return pixels / figure.dpi * 25.4


def test_a_millivolt_is_10_mm_and_a_second_is_25_mm():
    signal = np.zeros((len(STANDARD_LEADS), 2500))
    signal[:, 250:] += np.linspace(-1, 1, 2250)
    figure = plot_ecg(signal, sampling_rate=RATE)
    for gid, lead, start in [("trace-V4", "V4", 7.5), ("trace-II", "II", 0.0), ("rhythm-II", "II", 0.0)]:
        place = millimetres(figure, gid)
        first = round(start * RATE)
        recorded = signal[STANDARD_LEADS.index(lead), first : first + len(place)]
        np.testing.assert_allclose(place[:, 0] - place[0, 0], np.arange(len(place)) / RATE * 25, atol=1e-6)
        np.testing.assert_allclose(place[:, 1] - place[0, 1], (recorded - recorded[0]) * 10, atol=1e-6)


def test_the_saved_image_has_the_size_of_the_paper(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    figure = plot_ecg(make_ecg(), sampling_rate=RATE, title="A record")
    figure.savefig(tmp_path / "ecg.png")
    with image_module.open(tmp_path / "ecg.png") as image:
        width, height = image.size
        dots_per_mm = image.info["dpi"][0] / 25.4
    assert width == pytest.approx(280 * dots_per_mm, abs=1)
    assert height == pytest.approx(figure.get_size_inches()[1] * 25.4 * dots_per_mm, abs=1)
    assert 100 <= height / dots_per_mm <= 180


def test_the_grid_has_lines_at_every_1_and_5_mm():
    figure = plot_ecg(make_ecg(), sampling_rate=RATE)
    for step in (1, 5):
        grid = artist(figure, f"grid-{step}mm")
        corners = grid.get_transform().transform(np.array(grid.get_segments()).reshape(-1, 2)) / figure.dpi * 25.4
        starts, ends = corners[::2], corners[1::2]
        for axis in (0, 1):
            at = np.unique(starts[np.isclose(starts[:, axis], ends[:, axis]), axis].round(6))
            np.testing.assert_allclose(np.diff(at), step, atol=1e-5)
            assert len(at) >= 100 / step


def test_columns_follow_each_other_in_time():
    figure = plot_ecg(make_ecg(), sampling_rate=RATE)
    rhythm = millimetres(figure, "rhythm-II")
    assert rhythm[-1, 0] - rhythm[0, 0] == pytest.approx(250 - 25 / RATE)
    for column, leads in enumerate([STANDARD_LEADS[i : i + 3] for i in range(0, len(STANDARD_LEADS), 3)]):
        for lead in leads:
            place = millimetres(figure, f"trace-{lead}")
            assert len(place) == 2.5 * RATE
            assert place[0, 0] - rhythm[0, 0] == pytest.approx(column * 62.5)
    rows = [
        [np.median(millimetres(figure, f"trace-{lead}")[:, 1]) for lead in STANDARD_LEADS[row::3]] for row in range(3)
    ]
    assert np.ptp(rows, axis=1).max() < 0.5  # a row is level, but for the slow wave
    assert np.diff(np.mean(rows, axis=1)).max() <= -30 + 0.1  # I above II above III


def test_every_row_starts_with_a_pulse_of_1_mv_for_200_ms():
    figure = plot_ecg(make_ecg(), sampling_rate=RATE)
    for row in range(4):
        pulse = millimetres(figure, f"calibration-{row}")
        top = pulse[np.isclose(pulse[:, 1], pulse[:, 1].max())]
        assert np.ptp(pulse[:, 1]) == pytest.approx(10)
        assert np.ptp(top[:, 0]) == pytest.approx(5)
        assert pulse[:, 0].max() < millimetres(figure, "rhythm-II")[0, 0]


def test_every_lead_is_named_once_and_the_rhythm_strip_besides():
    texts = words(plot_ecg(make_ecg(), sampling_rate=RATE, rhythm_lead="v1"))
    assert {lead: texts.count(lead) for lead in STANDARD_LEADS} == {
        lead: 2 if lead == "V1" else 1 for lead in STANDARD_LEADS
    }
    assert "not recorded" not in texts


def test_labels_stand_at_their_own_traces():
    figure = plot_ecg(make_ecg(), sampling_rate=RATE)
    for lead in STANDARD_LEADS:
        x, y = artist(figure, f"label-trace-{lead}").get_position()
        trace_x, trace_y = artist(figure, f"trace-{lead}").get_data()
        assert 0 < x - trace_x[0] < 5
        assert trace_y[:9].max() + 1.5 < y < np.median(trace_y) + 15


def test_leads_are_matched_by_name():
    signal = make_ecg()
    signal[STANDARD_LEADS.index("V3")] *= 2
    order = np.random.default_rng(0).permutation(len(STANDARD_LEADS))
    shuffled = plot_ecg(signal[order], sampling_rate=RATE, lead_names=[STANDARD_LEADS[i].upper() for i in order])
    plain = plot_ecg(signal, sampling_rate=RATE)
    for lead in STANDARD_LEADS:
        np.testing.assert_array_equal(millimetres(shuffled, f"trace-{lead}"), millimetres(plain, f"trace-{lead}"))


def test_missing_leads_are_said_to_be_missing():
    figure = plot_ecg(make_ecg(leads=4), sampling_rate=RATE, lead_names=["V1", "I", "V5", "aVF"])
    texts = words(figure)
    assert texts.count("not recorded") == len(STANDARD_LEADS) - 4 + 1  # the rhythm strip is lead II
    assert all(lead in texts for lead in STANDARD_LEADS)
    assert figure.findobj(lambda item: item.get_gid() == "trace-V2") == []


@pytest.mark.parametrize("leads", [["V5"], ["I", "II"], ["V1", "I", "II"]])
def test_few_leads_are_drawn_whole_as_strips(leads):
    signal = make_ecg(leads=len(leads)) * np.arange(1, len(leads) + 1)[:, None]
    figure = plot_ecg(signal, sampling_rate=RATE, lead_names=leads)
    for lead, own in zip(leads, signal, strict=True):
        drawn = artist(figure, f"rhythm-{lead}").get_ydata()
        np.testing.assert_allclose(drawn - drawn[0], (own - own[0]) * 10, atol=1e-9)
    assert "not recorded" not in words(figure)
    assert [word for word in words(figure) if word in STANDARD_LEADS] == [x for x in STANDARD_LEADS if x in leads]


def test_the_heart_rate_is_that_of_the_beats_and_noise_has_none():
    assert heart_rate(make_ecg(), RATE) == pytest.approx(60, abs=1)
    fast = make_ecg()[:, ::2]  # the same samples at half the rate: twice as fast
    assert heart_rate(fast, RATE) == pytest.approx(120, abs=2)
    assert heart_rate(np.random.default_rng(0).normal(size=(12, 2500)), RATE) is None
    assert heart_rate(np.full((12, 2500), np.nan), RATE) is None
    assert heart_rate(make_ecg(duration_s=1.0), RATE) is None


def test_scores_over_time_are_drawn_a_row_a_label(tmp_path):
    scores = np.array([[0.1, 0.9], [0.4, np.nan], [0.8, 0.2]])
    figure = plot_scores([0, 60, 120], scores, ["one", "two"], title="Record 17")
    first, second = figure.axes
    assert [axes.get_title("left") for axes in figure.axes] == ["one", "two"]
    np.testing.assert_allclose(first.lines[0].get_xydata(), [[0, 0.1], [1, 0.4], [2, 0.8]])  # minutes
    assert np.isnan(second.lines[0].get_ydata()[1]) and not second.collections
    assert figure.get_suptitle() == "Record 17" and second.get_xlabel().endswith(", min")
    figure.savefig(tmp_path / "scores.png")


def test_a_single_window_is_a_point_and_remarks_stand_beneath():
    figure = plot_scores([0], np.array([[0.5]]), ["one"], remarks=["masked: absent V1"])
    assert figure.axes[0].lines[0].get_marker() == "."
    assert "masked: absent V1\nResearch software: not for diagnosis" in [text.get_text() for text in figure.texts]


def test_scores_of_a_day_are_drawn_by_their_median_and_range():
    scores = np.tile([0.1, 0.4, 0.9], 2880)[:, None]
    scores[4000:4100] = np.nan
    (axes,) = plot_scores(10.0 * np.arange(8640), scores, ["one"]).axes
    x, y = axes.lines[0].get_data()
    assert len(x) == 400 and x[0] == 0 and x[-1] == pytest.approx(24, abs=0.07) and axes.get_xlabel().endswith(", h")
    assert 3 <= np.isnan(y).sum() <= 5 and set(y[~np.isnan(y)]) == {0.4}
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.1, 0.9)


def test_a_lead_of_nan_is_not_recorded():
    signal = make_ecg()
    signal[STANDARD_LEADS.index("V6")] = np.nan
    assert words(plot_ecg(signal, sampling_rate=RATE)).count("not recorded") == 1


def test_gaps_stay_blank():
    signal = make_ecg()
    signal[STANDARD_LEADS.index("I"), 100:150] = np.nan
    signal[STANDARD_LEADS.index("I"), 200] = np.inf
    figure = plot_ecg(signal, sampling_rate=RATE)
    assert np.flatnonzero(np.isnan(artist(figure, "trace-I").get_ydata())).tolist() == [*range(100, 150), 200]


def test_a_short_recording_shows_what_there_is():
    figure = plot_ecg(make_ecg(duration_s=4.0), sampling_rate=RATE)
    assert len(millimetres(figure, "rhythm-II")) == 4 * RATE
    assert len(millimetres(figure, "trace-aVR")) == 1.5 * RATE
    assert words(figure).count("recording ends at 4 s") == 6  # V1 to V6


def test_of_a_long_recording_the_first_10_s_are_shown():
    signal = make_ecg(duration_s=30.0)
    signal[:, 2500:] += 3.0
    figure = plot_ecg(signal, sampling_rate=RATE)
    rhythm = artist(figure, "rhythm-II").get_ydata()
    np.testing.assert_allclose(rhythm - rhythm[0], (signal[1, :2500] - signal[1, 0]) * 10, atol=1e-9)
    assert "25 mm/s  10 mm/mV  250 Hz  0 to 10 of 30 s  about 60 beats/min" in words(figure)


def test_a_page_begins_at_a_second_of_the_recording():
    signal = make_ecg(duration_s=14.0)
    signal[:, 1000:] *= 2.0
    figure = plot_ecg(signal, sampling_rate=RATE, start=4.0)
    np.testing.assert_allclose(np.ptp(artist(figure, "rhythm-II").get_ydata()), 10 * np.ptp(signal[1, 1000:]))
    assert "25 mm/s  10 mm/mV  250 Hz  4 to 14 of 14 s  about 60 beats/min" in words(figure)
    late = words(plot_ecg(signal, sampling_rate=RATE, start=10.0))
    assert late.count("recording ends at 14 s") == 6
    assert "25 mm/s  10 mm/mV  250 Hz  10 to 14 of 14 s  about 60 beats/min" in late
    with pytest.raises(ValueError, match="the recording is 14.0 s long, and the page begins at 14 s"):
        plot_ecg(signal, sampling_rate=RATE, start=14.0)


def test_no_rate_is_printed_that_hangs_on_how_high_a_beat_must_be():
    """Wide beats of a bundle branch or a ventricle hide the narrow ones beside them."""
    signal = make_ecg()
    t = np.arange(2500) / RATE
    for beat in np.arange(1.0, 10, 2):
        signal += 0.45 * np.exp(-((t - beat) ** 2) / (2 * 0.01**2))
    assert heart_rate(signal, RATE) is None


def test_remarks_stand_beneath_the_scores():
    scores, remark = [{"label": "one", "score": 0.5}], "masked: " + ", ".join(["absent V1"] * 30)
    figure = plot_ecg(make_ecg(), sampling_rate=RATE, scores=scores, remarks=["no heart beat was found", remark])
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    lines = [text for text in heights if text.startswith(("no heart", "masked", "    absent"))]
    assert len(lines) == 4 and all(len(line) <= 150 for line in lines)
    bottom = figure.axes[0].get_ylim()[0]
    assert heights["one"] > heights["no heart beat was found"] > heights[lines[-1]] > bottom


def test_the_rate_of_an_irregular_rhythm_is_that_of_all_beats():
    t = np.arange(2500) / RATE
    beats = np.cumsum([0.5, 0.5, 1.5] * 4)  # pairs: by the usual interval 120 a minute, by their number 72
    row = sum(np.exp(-((t - beat) ** 2) / (2 * 0.01**2)) for beat in beats)
    assert heart_rate(np.repeat(row[None], 12, axis=0), RATE) == pytest.approx(72, abs=4)


def test_an_offset_of_the_electrodes_does_not_move_the_trace():
    plain = plot_ecg(make_ecg(), sampling_rate=RATE)
    offset = plot_ecg(make_ecg() + 4.0, sampling_rate=RATE)
    np.testing.assert_allclose(millimetres(offset, "trace-V2"), millimetres(plain, "trace-V2"), atol=1e-6)


@pytest.mark.parametrize("amplitude", [1.0, -4.0, 4.0])
def test_rows_do_not_run_into_each_other(amplitude):
    signal = make_ecg()
    signal[STANDARD_LEADS.index("V2")] = make_ecg(leads=1, amplitude=amplitude)[0]
    # What the rows draw at the same place: V2 down to V3's level, or up to V1's.
    figure = plot_ecg(signal, sampling_rate=RATE)
    above, middle, below = (artist(figure, f"trace-{lead}").get_ydata() for lead in ("V1", "V2", "V3"))
    assert (above - middle).min() >= 2
    assert (middle - below).min() >= 2
    distances = -np.diff([artist(figure, f"calibration-{row}").get_ydata()[0] for row in range(4)])
    assert (distances >= 30).all()
    assert (distances % 5 == 0).all()
    assert (distances.max() > 30) == (abs(amplitude) > 1)


def test_an_artefact_does_not_make_the_page_endless():
    signal = make_ecg()
    signal[3, 800] = 90.0
    assert plot_ecg(signal, sampling_rate=RATE).get_size_inches()[1] * 25.4 < 350


def test_words_around_the_paper():
    texts = words(plot_ecg(make_ecg(), sampling_rate=RATE, title="Record 17"))
    assert "Record 17" in texts
    assert "25 mm/s  10 mm/mV  250 Hz  about 60 beats/min" in texts
    assert any("not for diagnosis" in text for text in texts)


def test_scores_are_listed_beneath_the_paper():
    scores = [{"label": "left bundle branch block", "score": 0.75}, {"label": "normal ECG", "score": 0.25}]
    figure, without = (plot_ecg(make_ecg(), sampling_rate=RATE, scores=given) for given in (scores, None))
    texts = words(figure)
    assert [text for text in texts if text in ("left bundle branch block", "0.75", "normal ECG", "0.25")]
    assert texts.index("left bundle branch block") < texts.index("normal ECG")
    assert {"0.75", "0.25"} <= set(texts)
    widths = [patch.get_width() for patch in figure.axes[0].patches[1:]]
    full, first, _, second = widths
    assert (first / full, second / full) == pytest.approx((0.75, 0.25))
    # The paper is as it was: same place from the top, same size.
    np.testing.assert_array_equal(artist(figure, "trace-V5").get_data(), artist(without, "trace-V5").get_data())
    lowest = artist(figure, "rhythm-II").get_ydata().min()
    assert all(t.get_position()[1] < lowest for t in figure.axes[0].texts if t.get_text() in ("0.75", "0.25"))
    assert all(t.get_window_extent().y0 > 0 for t in figure.axes[0].texts)
    assert len(without.axes[0].patches) == 1


def test_long_labels_are_cut_and_stay_on_the_page():
    figure = plot_ecg(make_ecg(), sampling_rate=RATE, scores=[{"label": "infarct of the wall " * 20, "score": 1.0}])
    page = figure.bbox
    assert all(text.get_window_extent().x1 <= page.x1 for text in figure.axes[0].texts)


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        (np.zeros(1000), {}, r"shape \(1000,\): expected \(leads, samples\)"),
        (np.zeros((1000, len(STANDARD_LEADS))), {}, r"pass signal\.T"),
        (np.zeros((3, 1000)), {}, "one row for each of the"),
        (np.zeros((len(STANDARD_LEADS), 0)), {}, "at least one sample"),
        (np.zeros((1, 9)), {"lead_names": ["V9"]}, "unknown lead 'V9'"),
        (np.zeros((1, 9)), {"lead_names": ["I"], "rhythm_lead": "X"}, "unknown lead 'X'"),
        (np.zeros((2, 9)), {"lead_names": ["I", "DI"]}, "duplicate lead"),
        (np.zeros((1, 9)), {"lead_names": ["I"], "sampling_rate": 0}, "sampling_rate is 0"),
        (np.array([[-400.0, 900.0]]), {"lead_names": ["I"]}, "spans 1300.*microvolts"),
        (np.zeros((1, 9)), {"lead_names": ["I"], "scores": [{"label": "x"}]}, "expected a list of"),
        (np.zeros((1, 9)), {"lead_names": ["I"], "scores": ["x"]}, "expected a list of"),
        (
            np.zeros((1, 9)),
            {"lead_names": ["I"], "scores": [{"label": "x", "score": np.nan}]},
            "score of 'x'",
        ),
    ],
)
def test_refuses(signal, options, message):
    with pytest.raises(ValueError, match=message):
        plot_ecg(signal, **({"sampling_rate": 100} | options))


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot_ecg(make_ecg(), sampling_rate=RATE)


def test_plotting_leaves_no_global_state():
    code = (
        "import sys, numpy as np; from mets_ecg.plotting import plot_ecg\n"
        "assert 'matplotlib' not in sys.modules\n"
        "plot_ecg(np.zeros((1, 99)), sampling_rate=10, lead_names=['I'])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_overlay_lies_over_the_same_leads_in_red_and_leaves_out_what_is_not_there():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(12, 1000)) * 0.2 + 0.5
    overlay = signal + 0.3
    overlay[:, 500:] = np.nan
    figure = plot_ecg(signal, sampling_rate=100, overlay=overlay)
    lines = {line.get_gid(): line for line in figure.axes[0].lines if line.get_gid()}
    for name in ("trace-V1", "rhythm-II"):
        own, over = lines[name].get_xydata(), lines[f"overlay-{name}"].get_xydata()
        there = ~np.isnan(over[:, 1])
        assert np.allclose(over[there, 0], own[there, 0])
        assert np.allclose(over[there, 1], own[there, 1] + 3, atol=0.01)  # 0.3 mV above
        assert lines[f"overlay-{name}"].get_color() != lines[name].get_color()
    assert np.isnan(lines["overlay-rhythm-II"].get_ydata()[500:]).all()
    with pytest.raises(ValueError, match=r"overlay has shape \(12, 900\): expected that of the signal, \(12, 1000\)"):
        plot_ecg(signal, sampling_rate=100, overlay=overlay[:, :900])
