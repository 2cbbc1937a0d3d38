"""A user's own table of real recordings, WFDB and NumPy, to a corpus that trains and evaluates."""

import csv
import json
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import wfdb
import yaml
from huggingface_hub import DatasetCard

from mets_ecg.data.corpora import CORPORA
from mets_ecg.data.corpora.table import TableCorpus
from mets_ecg.data.loading import load_corpus, load_parts
from mets_ecg.data.saved_corpus import SavedCorpus
from mets_ecg.evaluation.tasks import get_task
from mets_ecg.feature_extraction_ecg import ECGFeatureExtractor
from mets_ecg.leads import STANDARD_LEADS
from mets_ecg.signals import decode_signal
from mets_ecg.training.pretrain import run_pretrain
from mets_ecg_cli import main
from mets_ecg_cli.build import BuildArguments
from mets_ecg_cli.data import DataArguments

# 12 recordings of 12 patients; infarctions and others.
ROWS = [
    {"path": "ecgs/00001_lr", "patient_id": "a", "labels": "normal", "report": "sinus rhythm", "fold": "1"},
    {"path": "ecgs/00002_lr.npy", "patient_id": "b", "labels": "normal; slow", "report": "normal ecg", "fold": "1"},
    {"path": "ecgs/00003_lr.hea", "patient_id": "c", "labels": "none", "report": "", "fold": "9"},
    {"path": "ecgs/00004_lr.npy", "patient_id": "d", "labels": "", "report": "nan", "fold": "10"},
]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, ptb_xl_source):
    """Real recordings at 100 Hz under names 00001_lr to 00024_lr: WFDB where odd, NumPy in mV where even."""
    folder = tmp_path_factory.mktemp("recordings")
    headers = sorted((ptb_xl_source / "records100").rglob("*.hea"))[:24]
    for number, header in enumerate(headers, start=1):
        record = wfdb.rdrecord(str(header.with_suffix("")))
        name = f"{number:05d}_lr"
        if number % 2:
            wfdb.wrsamp(
                name, 100, record.units, record.sig_name, record.p_signal, fmt=["16"] * 12, adc_gain=[1000.0] * 12,
                baseline=[0] * 12, write_dir=str(folder),
            )  # fmt: skip
        else:
            np.save(folder / f"{name}.npy", record.p_signal.T.astype(np.float32))
    return folder


@pytest.fixture
def source(tmp_path, recordings):
    shutil.copytree(recordings, tmp_path / "ecgs")
    return tmp_path


def write(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def table(source, *changes, name="my_ecgs.csv", rows=ROWS, **every):
    """Write the table with changes to single rows, `(number, {column: cell})`, and to all."""
    rows = [row | every for row in rows]
    for number, change in changes:
        rows[number] |= change
    return write(source / name, rows)


def build(*flags) -> int:
    return main(["build", "table", "--num-proc", "1", *map(str, flags)])


def read_all(builder):
    return [row for recording in builder.find()[0] for row in builder.read(recording)]


@pytest.fixture
def built(source, capsys):
    """The corpus of the table, and what the command printed."""
    flags = ("--sampling-rate", 100, "--lead-names", *STANDARD_LEADS, "--units", "mV")
    assert build("--source", table(source, weight="70", Report="x"), "--output", source / "corpus", *flags) == 0
    return source / "corpus", capsys.readouterr().out


def test_rows_have_the_signals_of_the_files_and_the_cells_of_the_table(built, source):
    rows = SavedCorpus(built[0]).dataset()
    assert rows["record_id"][:] == [row["path"] for row in ROWS]
    assert rows["corpus"][:] == ["my-ecgs"] * 4 and rows["split"][:] == ["full"] * 4
    assert rows["patient_id"][:] == list("abcd") and rows["fold"][:] == [1, 1, 9, 10]
    assert rows["report"][:] == ["sinus rhythm", "normal ecg", None, None]
    assert rows["report_en"][0] == "sinus rhythm."
    names = rows.features["labels"].feature.names
    assert names == ["normal", "slow"] and rows["labels"][:] == [[0], [0, 1], [], None]
    for row in rows:
        file = source / row["record_id"].removesuffix(".hea")
        expected = np.load(file) if file.suffix == ".npy" else wfdb.rdrecord(str(file)).p_signal.T
        np.testing.assert_allclose(decode_signal(row), expected, atol=0.00051)  # mV
        assert set(row["gain"]) == {1000} and row["sampling_rate"] == 100
        assert row["lead_names"] == list(STANDARD_LEADS)


def test_the_command_says_what_it_wrote_and_ignored(built, source, caplog):
    folder, printed = built
    assert "my-ecgs default: 4 rows (full 4)" in printed
    assert "2 with an empty report: ecgs/00003_lr.hea, ecgs/00004_lr.npy" in printed
    assert f"task for --task: {folder / 'labels.yaml'} (2 classes, multi-label, 3 records with known labels)" in printed
    TableCorpus(source / "my_ecgs.csv", sampling_rate=100)
    assert "columns that are not used: weight, Report (did you mean report?)" in caplog.text
    assert "no units stated for 2 .npy files: mV is assumed" in caplog.text
    assert "no lead_names stated for 2 .npy files: the order I, II, III" in caplog.text


def test_the_card_states_no_licence_and_invents_nothing(built):
    text = (built[0] / "README.md").read_text()
    data = DatasetCard(text).data.to_dict()
    assert data["license"] == "unknown" and data["pretty_name"] == "my_ecgs.csv" and "language" not in data
    assert "mets-ecg build table --source my_ecgs.csv`" in text and "| `labels` | 2 classes: `normal`, `slow` |" in text
    assert "The licence is not known. Whoever publishes this corpus states it here" in text
    assert "doi" not in text and "None" not in text and "the source has no reports" not in text
    loaded = datasets.load_dataset(str(built[0]), cache_dir=str(built[0].parent / "cache"))
    assert len(loaded["full"]) == 4


def test_the_task_file_is_ready_and_never_written_again(built, source, capsys):
    task = get_task(str(built[0] / "labels.yaml"))
    assert (task.corpus, task.label_column, task.problem_type) == ("my-ecgs", "labels", "multi-label")
    assert {code: described.name for code, described in task.classes.items()} == {"normal": "normal", "slow": "slow"}
    text = (built[0] / "labels.yaml").read_text().replace("name: slow", "name: slow rhythm")
    (built[0] / "labels.yaml").write_text(text)
    flags = ("--sampling-rate", 100, "--lead-names", *STANDARD_LEADS, "--units", "mV")
    assert build("--source", source / "my_ecgs.csv", "--output", built[0], *flags) == 0
    assert "labels.yaml (left as it is" in capsys.readouterr().out
    assert (built[0] / "labels.yaml").read_text() == text


def test_a_task_is_single_label_where_each_known_record_has_one(source):
    rows = [row | {"labels": label, "labels_rate": rate} for row, label, rate in
            zip(ROWS, ("AF", "no", "", "AF"), ("none", "none", "1", ""), strict=True)]  # fmt: skip
    builder = TableCorpus(table(source, rows=rows), sampling_rate=100)
    builder.write_extras(source)
    first, second = (yaml.safe_load((source / f"{name}.yaml").read_text()) for name in ("labels", "labels_rate"))
    assert first["problem_type"] == "single-label" and list(first["classes"]) == ["AF", "no"]
    assert second["problem_type"] == "multi-label" and list(second["classes"]) == ["1"]


def test_splits_become_splits_and_a_rate_of_each_row_is_used(source):
    splits = ("train", "train", "validation", "test")
    changes = [(i, {"split": split, "sampling_rate": "" if i % 2 == 0 else "250.0"}) for i, split in enumerate(splits)]
    path = table(source, *changes, rows=[row | {"split": "", "sampling_rate": ""} for row in ROWS])
    builder = TableCorpus(path)
    assert builder.splits == ("train", "validation", "test")
    assert [one.split for one in builder.recordings()] == list(splits)
    assert [row["sampling_rate"] for row in read_all(builder)] == [100, 250, 100, 250]


def test_parquet_has_types_of_its_own(source, round_trip):
    rows = {
        "path": [row["path"] for row in ROWS],
        "patient_id": [17.0, 18.0, 19.0, None],
        "labels": [["b"], [], ["b", "a"], None],
        "age": [91.0, float("nan"), 0.5, None],
        "sex": ["F", "male", None, "m"],
        "fold": [1, 2, None, 3],
        "sampling_rate": [None, 100, None, 100],
        "lead_names": [None, list(STANDARD_LEADS), None, " ".join(STANDARD_LEADS).split()],
        "start_time": ["2024-05-31", "2024-05-31 10:15", None, "2024-05-31T10:15:00"],
    }
    pq.write_table(pa.table(rows), source / "mine.parquet")
    rows = round_trip(TableCorpus(source / "mine.parquet"))
    assert rows["patient_id"][:] == ["17", "18", "19", None]
    assert rows.features["labels"].feature.names == ["a", "b"] and rows["labels"][:] == [[1], [], [1, 0], None]
    assert rows["age"][:] == [91, None, 0.5, None] and rows["age_over_89"][:] == [True, None, False, None]
    assert rows["sex"][:] == ["female", "male", None, "male"] and rows["fold"][:] == [1, 2, None, 3]
    assert rows["start_time"][:] == ["2024-05-31", "2024-05-31T10:15:00", None, "2024-05-31T10:15:00"]


def test_a_tab_separated_table_may_have_absolute_paths(source, recordings):
    rows = [{"path": str(recordings / "00001_lr"), "record_id": "first", "device": "AT-6"}]
    builder = TableCorpus(write(source / "mine.tsv", rows, delimiter="\t"))
    (row,) = read_all(builder)
    assert row["record_id"] == "first" and row["device"] == "AT-6" and builder.name == "mine"


def test_units_leads_and_gaps_are_read_right(source):
    signal = np.load(source / "ecgs" / "00002_lr.npy")[:2]
    microvolts = np.round(signal * 1000)
    gap = signal.copy()
    gap[0, :5] = np.nan
    np.save(source / "a.npy", microvolts.astype(np.int16))
    np.save(source / "b.npy", gap)
    rows = [{"path": "a.npy", "units": "µV"}, {"path": "b.npy", "units": "mV"}]
    path = write(source / "mine.csv", [row | {"lead_names": "MLII, V1", "sampling_rate": "100"} for row in rows])
    first, second = read_all(TableCorpus(path))
    np.testing.assert_array_equal(first["signal"], microvolts)
    assert first["lead_names"] == ["II", "V1"]
    assert np.isnan(decode_signal(second)[0, :5]).all() and not np.isnan(decode_signal(second)[:, 5:]).any()


def test_folds_are_parts_and_two_tables_are_used_together(source, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", source / "cache")
    table(source, name="one.csv")
    rows = [row | {"split": split} for row, split in zip(ROWS[:3], ("train", "validation", "test"), strict=True)]
    table(source, name="table.csv", rows=rows)
    for name in ("one", "table"):
        assert build("--source", source / f"{name}.csv", "--output", source / name, "--sampling-rate", 100) == 0
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=10.0)
    parts = load_parts(extractor, DataArguments(data=[str(source / "one"), str(source / "table")]))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (3, 2, 2)
    assert parts.words["one"]["train"] == ["1-8"] and parts.words["table"]["train"] == ["train"]
    assert set(parts.train["corpus"][:]) == {"one", "table"}


def test_a_patient_in_two_parts_is_refused(source, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", source / "cache")
    path = table(source, (2, {"patient_id": "a"}))
    assert build("--source", path, "--output", source / "corpus", "--sampling-rate", 100) == 0
    extractor = ECGFeatureExtractor(sampling_rate=100, bandpass=None, max_duration=10.0)
    with pytest.raises(ValueError, match="both for train and for validation, 'a' of my-ecgs"):
        load_parts(extractor, DataArguments(data=[str(source / "corpus")]))


def test_training_reads_a_table_as_a_source(source, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", source / "cache")
    path = table(source, sampling_rate="100")
    rows = load_corpus(source=str(path), sampling_rate=100, num_proc=1)
    assert rows["corpus"][:] == ["my-ecgs"] * 4


def test_other_classes_give_another_key(source):
    """A shard whose own rows are unchanged has other numbers of classes."""

    def build_to(name):
        assert build("--source", source / "my_ecgs.csv", "--output", source / name, "--sampling-rate", 100) == 0
        return json.loads((source / name / "default" / "build.json").read_text())["key"]

    rows = [row | {"split": split} for row, split in zip(ROWS, ("train", "train", "test", "test"), strict=True)]
    table(source, rows=rows)
    keys = {build_to("one")}
    table(source, (3, {"labels": "a class before the others"}), rows=rows)
    keys.add(build_to("two"))
    assert len(keys) == 2
    assert build("--source", source / "my_ecgs.csv", "--output", source / "one", "--sampling-rate", 100) == 1


def test_missing_files_are_counted_and_named(source, capsys):
    (source / "ecgs" / "00002_lr.npy").unlink()
    (source / "ecgs" / "00001_lr.dat").unlink()
    flags = ("--source", table(source), "--output", source / "corpus", "--sampling-rate", 100)
    assert build(*flags, "--strict") == 1
    assert "2 of 4 recordings are not in" in capsys.readouterr().err
    assert build(*flags) == 0
    assert "2 listed but not in the source: ecgs/00001_lr, ecgs/00002_lr.npy" in capsys.readouterr().out
    shutil.rmtree(source / "ecgs")
    assert build(*flags) == 1
    error = capsys.readouterr().err
    assert "none of 4 recordings" in error and "relative to the folder of the table" in error


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no array", "00002_lr.npy is damaged, or not a .npy file of numbers"),
        (np.zeros((2, 3, 100)), r"a recording is \(leads, samples\), got the shape \(2, 3, 100\)"),
        (np.zeros((8, 100)), "8 rows, and the model has 12 leads.*columns of the table, or .*--lead-names"),
        (np.ones((12, 100), np.int16), "00002_lr.npy has integers and no unit is stated: .*--units"),
        (np.full((12, 100), 900.0), "does not fit 16 bits.*unit is not stated, mV was assumed"),
        (np.array([{"a": 1}], dtype=object), "not a .npy file of numbers"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(source, capsys, content, reason):
    path = source / "ecgs" / "00002_lr.npy"
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content, allow_pickle=True)
    assert build("--source", table(source), "--output", source / "corpus", "--sampling-rate", 100) == 1
    error = capsys.readouterr().err
    assert "1 recordings cannot be read: ecgs/00002_lr.npy: " in error
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(error)


def test_what_contradicts_a_file_is_an_error(source, capsys):
    path = table(source, rows=ROWS[:1])
    assert build("--source", path, "--output", source / "corpus", "--sampling-rate", 500) == 1
    error = capsys.readouterr().err
    assert "the recording says 100 Hz and the call 500 Hz" in error and "--sampling-rate" in error


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fold": "first"}, "row 2: fold must be a whole number, got 'first'"),
        ({"fold": "1.5"}, "row 2: fold must be a whole number"),
        ({"split": "dev"}, "row 2: split must be train or validation or test, got 'dev'"),
        ({"split": "train"}, "ecgs/00001_lr has no split, others have"),
        ({"age": "old"}, "row 2: age must be a number of years"),
        ({"sex": "1"}, "row 2: sex must be male or female, got '1'"),
        ({"start_time": "yesterday"}, "row 2: start_time must be a time in ISO 8601"),
        ({"units": "mm"}, "row 2: units must be mV, uV or V, got 'mm'"),
        ({"sampling_rate": "-1"}, "row 2: sampling_rate must be a number of Hz"),
        ({"labels": "None"}, "row 2: labels is 'None': write none for a recording with none of the classes"),
        ({"path": " "}, "row 2 has no path"),
        ({"record_id": "ecgs/00001_lr"}, "1 record ids occur more than once"),
        ({"path": "ecgs/00001_lr.dat"}, "both name the file ecgs/00001_lr.hea"),
    ],
)
def test_a_cell_that_cannot_be_is_named(source, change, reason):
    path = table(source, (1, change), rows=[row | dict.fromkeys(change, "") | row for row in ROWS])
    with pytest.raises(ValueError, match=reason):
        TableCorpus(path, sampling_rate=100).find()


def test_an_array_without_a_rate_is_refused_before_anything_is_read(source):
    with pytest.raises(
        ValueError, match=r"rate of ecgs/00002_lr.npy is not stated: give a column sampling_rate, or --"
    ):
        TableCorpus(table(source))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "file,label\nx,y\n", "a.csv lacks the columns path: it has file, label"),
        ("a.csv", "path,label\n", "a.csv has no rows"),
        ("a.csv", "path\na,b\n", "line 2 has more cells than columns: mend the line"),
        ("a.parquet", "path\na\n", "a.parquet is not a Parquet file"),
        ("a.xlsx", "path\na\n", "is not a table: give a .csv, .tsv, .parquet file"),
        ("ptb_xl.csv", "path\na\n", "would give a corpus ptb-xl, which is a published one: rename the table"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=reason):
        TableCorpus(tmp_path / name)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no table .*none.csv"):
        TableCorpus(tmp_path / "none.csv")


def test_a_column_without_classes_is_no_label_column(source, caplog):
    builder = TableCorpus(table(source, labels="none"), sampling_rate=100)
    assert builder.label_columns == {} and builder.write_extras(source) == []
    assert "column labels names no class" in caplog.text
    assert "labels" not in builder.features


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"corpus": "ludb", "source": "x", "sampling_rate": 500.0},
            "--sampling-rate: only `mets-ecg build table` takes",
        ),
        ({"corpus": "ludb", "source": "x", "lead_names": ["I"], "units": "mV"}, "--lead-names, --units: only"),
        ({"corpus": "table"}, "say where your table is, by --source"),
        ({"corpus": "table", "download": "x"}, "say where your table is, by --source"),
    ],
)
def test_flags_that_do_not_fit_are_refused_at_once(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        BuildArguments(output="o", **arguments)


def test_the_whole_round(source, tiny_checkpoint, monkeypatch, capsys):
    """Build, fine-tune, and evaluate, the classifier and by words, with the commands of the README."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", source / "cache")
    rows = []
    for number in range(1, 25):
        split = "train" if number <= 16 else "validation" if number <= 20 else "test"
        suffix = "" if number % 2 else ".npy"
        label = "infarction" if number % 3 == 0 else "normal"
        rows.append({"path": f"ecgs/{number:05d}_lr{suffix}", "labels": label, "split": split})
    corpus, task = str(source / "corpus"), str(source / "corpus" / "labels.yaml")
    assert build("--source", write(source / "mine.csv", rows), "--output", corpus, "--sampling-rate", 100) == 0
    data = ("--data", corpus, "--task", task)
    model, classifier = str(tiny_checkpoint), str(source / "classifier")
    flags = ("--epochs", "1", "--batch-size", "8")
    assert main(["finetune", "--model", model, *data, "--output", classifier, *flags]) == 0, capsys.readouterr().err
    for name in (classifier, model):
        capsys.readouterr()
        assert main(["evaluate", "--model", name, *data, "--num-resamples", "20", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["classes"] == ["infarction", "normal"] and found["parts"]["mine"]["test"] == ["test"]


def test_pretraining_says_that_reports_are_missing(source, pretrain_arguments, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", source / "cache")
    rows = [{"path": row["path"], "split": split} for row, split in zip(ROWS, ["train"] * 3 + ["test"], strict=True)]
    assert build("--source", write(source / "mine.csv", rows), "--output", source / "c", "--sampling-rate", 100) == 0
    with pytest.raises(ValueError, match="none of 3 records has a text in 'report'"):
        run_pretrain(replace(pretrain_arguments, data=[str(source / "c")], task=None))


def test_commands_know_it():
    assert CORPORA["table"] is TableCorpus
