"""Pictures of recordings: the 12-lead ECG on clinical paper, at 25 mm/s and 10 mm/mV.

Everything is laid out in millimetres: one matplotlib axes covers the whole figure and its unit is 1 mm, so
that a millimetre of paper is a millimetre at the figure's resolution, on screen and in print. Figures are
made with the object interface (`Figure`, `FigureCanvasAgg`): no pyplot, no global state, no window. Artists
carry ids (`trace-V1`, `rhythm-II`, `calibration-0` ...), which an SVG keeps. matplotlib comes with
the extra `plot`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

from .leads import STANDARD_LEADS, canonical_lead, canonical_leads
from .signals import detect_qrs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MM_PER_INCH = 25.4
_MM_PER_S = 25.0
_MM_PER_MV = 10.0

# The usual page: the standard leads down the columns, each column the next stretch of time, and a strip
# beneath.
_NUM_COLUMNS = 4
_NUM_ROWS = len(STANDARD_LEADS) // _NUM_COLUMNS
_COLUMN_S = 2.5
_PAGE_S = _NUM_COLUMNS * _COLUMN_S
# So many leads are drawn as strips, each whole.
_MAX_STRIPS = 3

# All in mm. Multiples of 5 put baselines and the pulse on the bold lines.
_LEFT_MM, _RIGHT_MM = 15, 5
_PAPER_WIDTH_MM = _LEFT_MM + _PAGE_S * _MM_PER_S + _RIGHT_MM
_MARGIN_MM = 5
_HEADER_MM, _FOOTER_MM = 9, 7
_SCORE_ROW_MM, _REMARK_ROW_MM = 6, 4.5
_REMARK_CHARACTERS = 150
_ROW_MM, _MAX_ROW_MM = 30, 90
_EDGE_MM = 15  # from the outer baselines to the paper's edge, at least
_CLEARANCE_MM = 2
_LABEL_MM, _LABEL_WIDTH_MM = 3, 9

_DOTS_PER_MM = 8  # as thermal ECG printers; a whole number keeps the grid crisp
_MAX_PLAUSIBLE_MV = 100.0

_PAPER, _MINOR, _MAJOR = "#fffbf9", "#f9dcd8", "#eeb0aa"
_NOTE = "Research software: not for diagnosis"
_INK, _GREY, _BAR, _BAR_BACK = "#16181d", "#6c7079", "#b5483f", "#f4e4e1"


def require_matplotlib() -> None:
    """Raise an `ImportError` that says how to get matplotlib, if it is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError("plotting needs matplotlib: pip install matplotlib") from error


def plot_ecg(
    signal: np.ndarray,
    *,
    sampling_rate: float,
    lead_names: Sequence[str] = STANDARD_LEADS,
    start: float = 0.0,
    title: str | None = None,
    scores: Sequence[Mapping] | None = None,
    remarks: Sequence[str] = (),
    rhythm_lead: str = "II",
    overlay: np.ndarray | None = None,
) -> Figure:
    """Draw a 12-lead ECG as on clinical paper: 25 mm/s, 10 mm/mV, 3 rows of 4 leads and a rhythm strip.

    The columns are consecutive in time, 2.5 s each; the strip shows all 10 s. Where at most three leads were recorded,
    each is drawn whole, as a strip. The heart rate, where beats are found, is printed beneath. Each lead is drawn about
    its own median, as a machine's AC coupling does. Rows move apart where traces would run into each other. The
    figure is sized in real millimetres: save it with `figure.savefig(path)`, without `bbox_inches="tight"`,
    and print it at 100 %.

    Args:
        signal: `(leads, samples)`, millivolt; NaN where nothing was recorded, which stays blank. 10 s of it are shown,
            or what is there.
        sampling_rate: samples a second, Hz.
        lead_names: one name a row of `signal`, in any order. Standard leads not among them (and leads of NaN
            throughout) are marked "not recorded".
        start: second of the recording at which the page begins.
        title: printed above the paper.
        scores: `{"label": ..., "score": ...}` with scores from 0 to 1, as the zero-shot pipeline returns
            them; listed with bars beneath the paper, in the order given.
        remarks: lines beneath the scores.
        rhythm_lead: the lead of the strip.
        overlay: `(leads, samples)`, millivolt, of the same leads and rate: drawn over each in red, such as what a model
            reconstructs; NaN where there is none.

    Returns:
        A figure of 203.2 dots an inch (8 a millimetre), with an Agg canvas.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the signal or the overlay is not `(leads, samples)` with one lead name a row; the signal holds no
            sample or cannot be in millivolts; the rate is not positive; the page begins where the recording has ended;
            a lead is unknown or named twice; a score has no label or number.

    Example:
        >>> import numpy as np
        >>> figure = plot_ecg(np.zeros((1, 1000)), sampling_rate=100, lead_names=["II"], title="One lead")
        >>> figure.savefig("ecg.png")  # doctest: +SKIP
    """
    lead_names = canonical_leads(lead_names)
    shown = _checked_page(signal, sampling_rate, lead_names, start)
    bars = _checked_scores(scores)
    if overlay is not None and np.shape(overlay) != np.shape(signal):
        raise ValueError(f"overlay has shape {np.shape(overlay)}: expected that of the signal, {np.shape(signal)}")
    leads = dict(zip(lead_names, shown, strict=True))
    rows = _rows_of_cells(leads, sampling_rate, canonical_lead(rhythm_lead), start)
    beats = heart_rate(shown, sampling_rate)
    baselines, paper_height = _baselines_mm(rows)

    header = _HEADER_MM if title else 0
    lines = _wrapped(remarks, _REMARK_CHARACTERS)
    footer = _FOOTER_MM + (_SCORE_ROW_MM * (len(bars) + 1) if bars or lines else 0) + _REMARK_ROW_MM * len(lines)
    axes = _millimetre_axes(above=header + _MARGIN_MM, below=paper_height + footer + _MARGIN_MM)
    _draw_paper(axes, paper_height)
    for number, (cells, baseline) in enumerate(zip(rows, baselines, strict=True)):
        _draw_calibration(axes, baseline, number)
        for cell in cells:
            _draw_cell(axes, cell, baseline)
            if overlay is not None and cell.lead in leads:
                own = np.asarray(overlay)[lead_names.index(cell.lead)] - np.nanmedian(leads[cell.lead])
                own = own[round(start * sampling_rate) :][: shown.shape[1]]
                _draw_overlay(axes, cell, baseline, own, sampling_rate)
    span, duration_s = "", np.shape(signal)[1] / sampling_rate
    if shown.shape != np.shape(signal):
        span = f"{start:.5g} to {start + shown.shape[1] / sampling_rate:.5g} of {duration_s:.5g} s"
    _draw_words(axes, title, paper_height, sampling_rate, span, beats)
    _draw_scores(axes, bars, lines, top=-paper_height - _FOOTER_MM)
    return axes.figure


def heart_rate(signal: np.ndarray, sampling_rate: float) -> float | None:
    """Return the beats a minute from the first QRS complex to the last.

    None where fewer than three are found, and where it depends on how high a complex must be how many there are: of
    1,316 pages of MIT-BIH DS1 93 % have a rate, of which 0.3 % are wrong by more than 15 %.

    Args:
        signal: `(leads, samples)`, millivolt; NaN where nothing was recorded.
        sampling_rate: Hz.
    """
    recorded = signal[~np.isnan(signal).all(axis=1)]
    if not len(recorded) or recorded.shape[1] < 2 * sampling_rate or sampling_rate < 40:
        return None
    places, others = detect_qrs(recorded, sampling_rate), detect_qrs(recorded, sampling_rate, height=0.2)
    if len(places) < 3 or len(others) - len(places) > 0.1 * len(places):
        return None
    return 60 * sampling_rate * (len(places) - 1) / float(places[-1] - places[0])


def plot_scores(
    times: Sequence[float],
    scores: np.ndarray,
    labels: Sequence[str],
    *,
    title: str | None = None,
    remarks: Sequence[str] = (),
) -> Figure:
    """Draw scores over the time of a long recording, a row a label.

    Of more than 400 windows, neighbours are drawn together: a line for their median, a band from lowest to highest.

    Args:
        times: seconds from the beginning, of each window.
        scores: `(windows, labels)` from 0 to 1; NaN where a window has none.
        labels: of the columns.
        title: above the rows.
        remarks: lines beneath them.

    Raises:
        ImportError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [*_wrapped(remarks, 130), _NOTE]
    below = 0.17 * len(lines)
    figure = Figure(figsize=(10, 1.2 + 1.3 * len(labels) + below), dpi=150, layout="constrained")
    figure.get_layout_engine().set(rect=(0, below / figure.get_figheight(), 1, 1 - below / figure.get_figheight()))
    figure.text(0.01, 0.05 / figure.get_figheight(), "\n".join(lines), fontsize=8.5, color=_INK, va="bottom")
    FigureCanvasAgg(figure)
    longest = max(times)
    unit, seconds = ("h", 3600.0) if longest >= 7200 else ("min", 60.0) if longest >= 120 else ("s", 1.0)
    parts = np.array_split(np.arange(len(times)), min(len(times), 400))
    x = [times[part[0]] / seconds for part in parts]
    rows = figure.subplots(len(labels), sharex=True, squeeze=False)[:, 0]
    for axes, label, values in zip(rows, labels, np.asarray(scores, dtype=float).T, strict=True):
        own = [values[part][~np.isnan(values[part])] for part in parts]
        low, middle, high = np.transpose(
            [np.quantile(part, (0, 0.5, 1)) if part.size else [np.nan] * 3 for part in own]
        )
        axes.plot(x, middle, color=_BAR, linewidth=1.2, marker=".", markersize=3)  # one alone has no line
        if len(parts) < len(times):
            axes.fill_between(x, low, high, color=_BAR, alpha=0.3, linewidth=0)
        axes.set(ylim=(0, 1))
        axes.set_title(label, loc="left", fontsize="medium")
        axes.grid(color=_MINOR)
    rows[-1].set_xlabel(f"from the beginning of the recording, {unit}")
    figure.supylabel("score", fontsize="medium")
    figure.suptitle(title)
    return figure


def _wrapped(remarks: Sequence[str], characters: int) -> list[str]:
    return [line for remark in remarks for line in textwrap.wrap(remark, characters, subsequent_indent="    ")]


@dataclass(frozen=True)
class _Cell:
    """A stretch of one lead and where it goes: millimetres, y about the row's baseline.

    `trace` is None where the lead was not recorded, and empty where the recording has ended before.
    """

    lead: str
    start_s: float
    end_s: float
    trace: np.ndarray | None  # (2, samples): x and y
    recorded_s: float
    is_rhythm: bool

    @property
    def left_mm(self) -> float:
        return _LEFT_MM + self.start_s * _MM_PER_S

    @property
    def label_mm(self) -> float:
        """Height of the label's foot: clear of what the trace does beneath it."""
        if self.trace is None or not self.trace.size:
            return 5.0
        x, y = self.trace
        under = y[(x < self.left_mm + _LABEL_WIDTH_MM) & ~np.isnan(y)]
        return float(np.clip(np.max(under, initial=3.0) + _CLEARANCE_MM, 5.0, _ROW_MM))


def _rows_of_cells(
    leads: Mapping[str, np.ndarray], sampling_rate: float, rhythm_lead: str, start: float
) -> list[list[_Cell]]:
    """Return the cells of the page: rows of consecutive columns, then the rhythm strip; of few leads strips alone."""

    def cell(lead: str, start_s: float, end_s: float, is_rhythm: bool = False) -> _Cell:
        if lead not in leads or np.isnan(leads[lead]).all():
            return _Cell(lead, start_s, end_s, None, 0.0, is_rhythm)
        heights = (leads[lead] - np.nanmedian(leads[lead])) * _MM_PER_MV
        seconds = np.arange(len(heights)) / sampling_rate
        trace = np.stack([_LEFT_MM + seconds * _MM_PER_S, heights])
        inside = (seconds >= start_s) & (seconds < end_s)
        return _Cell(lead, start_s, end_s, trace[:, inside], start + len(heights) / sampling_rate, is_rhythm)

    recorded = [lead for lead in STANDARD_LEADS if lead in leads and not np.isnan(leads[lead]).all()]
    if 0 < len(recorded) <= _MAX_STRIPS:
        return [[cell(lead, 0.0, _PAGE_S, is_rhythm=True)] for lead in recorded]
    columns = [(i * _COLUMN_S, (i + 1) * _COLUMN_S) for i in range(_NUM_COLUMNS)]
    rows = [
        [cell(STANDARD_LEADS[i * _NUM_ROWS + row], *column) for i, column in enumerate(columns)]
        for row in range(_NUM_ROWS)
    ]
    return [*rows, [cell(rhythm_lead, 0.0, _PAGE_S, is_rhythm=True)]]


def _baselines_mm(rows: Sequence[Sequence[_Cell]]) -> tuple[list[float], float]:
    """Return the height of each row's baseline and of the paper, whose top is 0 (down is negative).

    Distances are steps of 5 mm, so that baselines stay on bold lines. Two rows move apart only as far as what
    they draw one above the other needs: a deep S wave may reach past a neighbour's quiet stretch, as it does
    on paper.
    """
    outlines = [_outline_mm(cells) for cells in rows]
    gaps = [max(_EDGE_MM, np.max(outlines[0][1]) + _CLEARANCE_MM)]
    gaps += [max(_ROW_MM, np.max(below[1] - above[0]) + _CLEARANCE_MM) for above, below in pairwise(outlines)]
    gaps += [max(_EDGE_MM, _CLEARANCE_MM - np.min(outlines[-1][0]))]
    positions = np.cumsum([min(_on_bold_line(gap), _MAX_ROW_MM) for gap in gaps])
    return [-float(position) for position in positions[:-1]], float(positions[-1])


def _outline_mm(cells: Sequence[_Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest point a row draws near each millimetre of paper, about its baseline."""
    low, high = np.zeros((2, int(_PAPER_WIDTH_MM)))
    high[:_LEFT_MM] = _MM_PER_MV
    for cell in cells:
        left = int(cell.left_mm)
        high[left : left + _LABEL_WIDTH_MM] = cell.label_mm + _LABEL_MM
        if cell.trace is not None:
            x, y = cell.trace[:, ~np.isnan(cell.trace[1])]
            np.minimum.at(low, x.astype(int), y)
            np.maximum.at(high, x.astype(int), y)
    return minimum_filter1d(low, 5), maximum_filter1d(high, 5)  # 2 mm to either side


def _on_bold_line(length_mm: float) -> float:
    return 5.0 * float(np.ceil(length_mm / 5.0))


def _millimetre_axes(*, above: float, below: float) -> Axes:
    """Return axes over a whole new figure whose unit is 1 mm; (0, 0) is the paper's top left corner."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = _PAPER_WIDTH_MM + 2 * _MARGIN_MM, above + below
    figure = Figure(
        figsize=(width / _MM_PER_INCH, height / _MM_PER_INCH),
        dpi=_DOTS_PER_MM * _MM_PER_INCH,
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(-_MARGIN_MM, width - _MARGIN_MM), ylim=(-below, above), autoscale_on=False)
    return axes


def _draw_paper(axes: Axes, height: float) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((0, -height), _PAPER_WIDTH_MM, height, facecolor=_PAPER, edgecolor="none", zorder=0))
    across, down = np.arange(_PAPER_WIDTH_MM + 1), -np.arange(height + 1)
    for step, colour, width in ((1, _MINOR, 0.35), (5, _MAJOR, 0.55)):
        lines = [((x, 0), (x, -height)) for x in across[::step]]
        lines += [((0, y), (_PAPER_WIDTH_MM, y)) for y in down[::step]]
        grid = LineCollection(lines, colors=colour, linewidths=width, zorder=0.1 * step)
        grid.set_gid(f"grid-{step}mm")
        axes.add_collection(grid)


def _draw_calibration(axes: Axes, baseline: float, row: int) -> None:
    """Draw the pulse of 1 mV for 200 ms at the left of a row."""
    width = 0.2 * _MM_PER_S
    left = (_LEFT_MM - width) / 2
    x = [left - 2, left, left, left + width, left + width, left + width + 2]
    y = np.array([0, 0, 1, 1, 0, 0]) * _MM_PER_MV + baseline
    (line,) = axes.plot(x, y, color=_INK, linewidth=0.9, solid_joinstyle="miter", zorder=3)
    line.set_gid(f"calibration-{row}")


def _draw_cell(axes: Axes, cell: _Cell, baseline: float) -> None:
    kind = "rhythm" if cell.is_rhythm else "trace"
    if cell.start_s > 0:
        x = [cell.left_mm] * 2
        for low, high in ((-7, -4), (4, 7)):
            axes.plot(x, [baseline + low, baseline + high], color=_INK, linewidth=0.6, zorder=2)
    label = axes.text(
        cell.left_mm + 1, baseline + cell.label_mm, cell.lead, fontsize=9.5, fontweight="bold", color=_INK,
        path_effects=_halo(), zorder=5,
    )  # fmt: skip
    label.set_gid(f"label-{kind}-{cell.lead}")
    note = None
    if cell.trace is None:
        note = "not recorded"
    elif not cell.trace.size:
        note = f"recording ends at {cell.recorded_s:.3g} s"
    else:
        x, y = cell.trace
        (line,) = axes.plot(x, y + baseline, color=_INK, linewidth=0.9, solid_joinstyle="round", zorder=4)
        line.set_clip_path(axes.patches[0])  # the paper: an artefact must not cross the words around it
        line.set_gid(f"{kind}-{cell.lead}")
    if note:
        middle = (cell.start_s + cell.end_s) / 2 * _MM_PER_S + _LEFT_MM
        axes.text(
            middle,
            baseline,
            note,
            fontsize=9,
            color=_GREY,
            ha="center",
            va="center",
            path_effects=_halo(),
            zorder=5,
        )


def _draw_overlay(axes: Axes, cell: _Cell, baseline: float, signal: np.ndarray, sampling_rate: float) -> None:
    seconds = np.arange(len(signal)) / sampling_rate
    inside = (seconds >= cell.start_s) & (seconds < cell.end_s)
    x, y = _LEFT_MM + seconds[inside] * _MM_PER_S, signal[inside] * _MM_PER_MV + baseline
    (line,) = axes.plot(x, y, color=_BAR, linewidth=0.9, solid_joinstyle="round", zorder=4.5)
    line.set_clip_path(axes.patches[0])
    line.set_gid(f"overlay-{'rhythm' if cell.is_rhythm else 'trace'}-{cell.lead}")


def _halo() -> list:
    """Return path effects that keep words readable over the grid and a trace."""
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.5, foreground=_PAPER)]


def _draw_words(
    axes: Axes, title: str | None, height: float, sampling_rate: float, span: str, beats: float | None
) -> None:
    if title:
        axes.text(0, _HEADER_MM / 2, title, fontsize=12, fontweight="bold", color=_INK, va="center_baseline")
    settings = f"{_MM_PER_S:g} mm/s  {_MM_PER_MV:g} mm/mV  {sampling_rate:g} Hz"
    if span:
        settings += f"  {span}"
    if beats is not None:
        settings += f"  about {beats:.0f} beats/min"
    y = -height - 0.6 * _FOOTER_MM
    axes.text(0, y, settings, fontsize=8.5, color=_INK, va="center_baseline")
    axes.text(_PAPER_WIDTH_MM, y, _NOTE, fontsize=8.5, color=_GREY, ha="right", va="center_baseline")


def _draw_scores(axes: Axes, bars: Sequence[tuple[str, float]], lines: Sequence[str], *, top: float) -> None:
    """List labels, scores and bars beneath the paper, and lines of remarks under them."""
    from matplotlib.patches import Rectangle

    first = top - 1.5 * _SCORE_ROW_MM
    for i, line in enumerate(lines):
        y = first - len(bars) * _SCORE_ROW_MM - i * _REMARK_ROW_MM
        axes.text(0, y, line, fontsize=8.5, color=_INK)
    if not bars:
        return
    words = [
        axes.text(0, first - i * _SCORE_ROW_MM, textwrap.shorten(label, 90), fontsize=10, color=_INK)
        for i, (label, _) in enumerate(bars)
    ]
    renderer = axes.figure.canvas.get_renderer()
    left = max(text.get_window_extent(renderer).width for text in words) / _DOTS_PER_MM + 4
    full = min(120.0, _PAPER_WIDTH_MM - left - 15)
    for i, (_, score) in enumerate(bars):
        y = first - i * _SCORE_ROW_MM
        for width, colour in ((full, _BAR_BACK), (full * min(max(score, 0.0), 1.0), _BAR)):
            axes.add_patch(Rectangle((left, y - 0.25), width, 3, facecolor=colour, edgecolor="none", zorder=2))
        axes.text(left + full + 3, y, f"{score:.2f}", fontsize=10, color=_INK)


def _checked_page(signal: np.ndarray, sampling_rate: float, lead_names: Sequence[str], start: float) -> np.ndarray:
    """Return the part that the page shows as float64 `(leads, samples)`, NaN where it is not finite."""
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2 or len(signal) != len(lead_names) or not signal.shape[1]:
        hint = "; pass signal.T" if signal.ndim == 2 and signal.shape[1] == len(lead_names) else ""
        raise ValueError(
            f"the signal has shape {signal.shape}: expected (leads, samples) with one row for each of the "
            f"{len(lead_names)} lead_names and at least one sample{hint}"
        )
    if not 0 < sampling_rate < np.inf:
        raise ValueError(f"sampling_rate is {sampling_rate}: expected samples a second, Hz, above 0")
    first, duration_s = round(start * sampling_rate), signal.shape[1] / sampling_rate
    if not 0 <= first < signal.shape[1]:
        raise ValueError(f"the recording is {duration_s:.1f} s long, and the page begins at {start:g} s")
    signal = signal[:, first : first + int(np.ceil(_PAGE_S * sampling_rate))]
    signal = np.where(np.isfinite(signal), signal, np.nan)
    known = signal[~np.isnan(signal)]
    spread = np.max(known, initial=0.0) - np.min(known, initial=0.0)
    if spread > _MAX_PLAUSIBLE_MV:
        raise ValueError(
            f"the signal spans {spread:.0f}: too much for millivolts; if it is in microvolts, pass signal / 1000"
        )
    return signal


def _checked_scores(scores: Sequence[Mapping] | None) -> list[tuple[str, float]]:
    """Return label and score of each entry."""
    bars = []
    for entry in scores or []:
        try:
            bars.append((str(entry["label"]), float(entry["score"])))
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(
                f'scores hold {entry!r}: expected a list of {{"label": "...", "score": 0.5}}, as the '
                "zero-shot pipeline returns for one recording"
            ) from error
        if not np.isfinite(bars[-1][1]):
            raise ValueError(f"the score of {bars[-1][0]!r} is {bars[-1][1]}: expected a number from 0 to 1")
    return bars
