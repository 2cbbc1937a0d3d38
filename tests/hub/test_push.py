"""Corpora and checkpoints go to the loopback Hub by the real client, and come back."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb
from datasets import ClassLabel, Dataset, DatasetInfo, Features, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData
from transformers import AutoModel, pipeline

from mets_ecg.hub.push import push_folder

FEATURES = Features(
    {
        "record_id": Value("string"),
        "signal": List(List(Value("int16"))),
        "labels": List(ClassLabel(names=["NORM", "MI", "STTC"])),
        "statements": List({"code": Value("string"), "likelihood": Value("float32")}),
    }
)
ROWS = {"train": 11, "validation": 5, "test": 4}
SHARDS = {"train": 3, "validation": 1, "test": 1}
SAMPLES = {"100hz": 100, "500hz": 500}
NAME = "user/ptb-xl"

PUSH = """
from mets_ecg_cli.parser import parse_arguments
from mets_ecg.hub.push import run_push
from mets_ecg_cli.push import PushArguments
run_push(parse_arguments(PushArguments, arguments))
"""
LOAD = """
import json
from datasets import load_dataset
repo_id, config, split, streaming, revision = arguments
rows = load_dataset(repo_id, config, split=split, streaming=streaming, revision=revision)
print(json.dumps({"features": str(rows.features), "rows": list(rows)}))
"""


def rows_of(config: str, split: str, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng([seed, SAMPLES[config], ROWS[split]])
    return [
        {
            "record_id": f"{split}-{i}",
            "signal": rng.integers(-3000, 3000, (12, SAMPLES[config])).tolist(),
            "labels": [i % 3],
            "statements": [{"code": "NORM", "likelihood": float(i)}],
        }
        for i in range(ROWS[split])
    ]


def make_corpus(folder: Path, *, configs=("100hz", "500hz"), shards=SHARDS, seed: int = 0) -> Path:
    """A folder as `mets-ecg build` leaves it."""
    data, infos = DatasetCardData(license="cc-by-4.0"), DatasetInfosDict()
    for config in configs:
        (folder / config).mkdir(parents=True)
        (folder / config / "build.json").write_text(json.dumps({"config": config}))
        for split, count in shards.items():
            rows = Dataset.from_list(rows_of(config, split, seed), features=FEATURES)
            for i in range(count):
                path = folder / config / f"{split}-{i:05d}-of-{count:05d}.parquet"
                rows.shard(count, i, contiguous=True).to_parquet(path)
        splits = SplitDict({split: SplitInfo(split, num_bytes=1, num_examples=ROWS[split]) for split in shards})
        infos[config] = DatasetInfo(config_name=config, features=FEATURES, splits=splits)
    infos.to_dataset_card_data(data)
    data.configs = [
        {"config_name": c, "data_files": [{"split": s, "path": f"{c}/{s}-*.parquet"} for s in shards]} for c in configs
    ]
    (folder / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n# A corpus\n")
    return folder


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "ptb-xl")


@pytest.fixture
def corpus(original, tmp_path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "ptb-xl"))


@pytest.fixture(scope="module")
def pushed(loopback_hub, session, original):
    """The repository that the corpus was pushed to, and what the command printed."""
    printed = session.run(PUSH, str(original), NAME)
    return loopback_hub.repositories["datasets", NAME], printed


def load(
    session, config: str, split: str, *, streaming: bool, repo_id: str = NAME, revision: str | None = None
) -> dict:
    return json.loads(session.run(LOAD, repo_id, config, split, streaming, revision))


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_repository_holds_the_folder_in_one_commit(loopback_hub, pushed, original):
    repository, printed = pushed
    files = repository.files()
    assert set(files) == names_in(original) | {".gitattributes"}
    assert all(files[name].content == (original / name).read_bytes() for name in names_in(original))
    assert repository.messages == ["initial commit", "Push 100hz, 500hz"]
    assert printed.splitlines() == [
        "100hz: train 11, validation 5, test 4 rows",
        "500hz: train 11, validation 5, test 4 rows",
        f"pushed: {loopback_hub.endpoint}/datasets/{NAME}/commit/{repository.branches['main']}",
    ]


@pytest.mark.parametrize("streaming", [True, False])
def test_it_loads_as_it_was(session, pushed, streaming):
    for config in SAMPLES:
        loaded = load(session, config, "train", streaming=streaming)
        assert loaded == {"features": str(FEATURES), "rows": rows_of(config, "train")}


def test_streaming_a_split_downloads_no_other(loopback_hub, session, pushed):
    seen = len(loopback_hub.requests)
    assert load(session, "500hz", "validation", streaming=True)["rows"] == rows_of("500hz", "validation")
    downloaded = {path for _, path in loopback_hub.requests[seen:] if path.endswith(".parquet")}
    assert {path.rsplit("/", 1)[1] for path in downloaded} == {"validation-00000-of-00001.parquet"}


def test_an_unchanged_corpus_makes_no_commit_and_sends_nothing(loopback_hub, session, pushed, original):
    repository, printed = pushed
    seen, commits = len(loopback_hub.requests), len(repository.commits)
    assert session.run(PUSH, str(original), NAME) == printed
    assert len(repository.commits) == commits
    assert not [path for method, path in loopback_hub.requests[seen:] if method == "PUT"]


def test_no_shard_of_an_earlier_push_stays(loopback_hub, session, original, tmp_path):
    name = "clinic/rebuilt"
    session.run(PUSH, str(original), name)
    repository = loopback_hub.repositories["datasets", name]
    session.run(
        'from huggingface_hub import HfApi; HfApi().upload_file(path_or_fileobj=b"1", path_in_repo="extra/a.parquet", '
        'repo_id="clinic/rebuilt", repo_type="dataset")'
    )
    commits = len(repository.commits)
    rebuilt = make_corpus(tmp_path / "rebuilt", shards={"train": 2, "test": 1}, seed=1)
    session.run(PUSH, str(rebuilt), name)
    assert len(repository.commits) == commits + 1
    assert set(repository.files()) == names_in(rebuilt) | {".gitattributes", "extra/a.parquet"}
    assert load(session, "100hz", "train", streaming=True, repo_id=name)["rows"] == rows_of("100hz", "train", seed=1)


def test_a_branch_is_pushed_to_and_main_stays(loopback_hub, session, pushed, tmp_path):
    repository, _ = pushed
    main = repository.branches["main"]
    other = make_corpus(tmp_path / "other", shards={"test": 1}, seed=2)
    session.run(PUSH, str(other), NAME, "--revision", "next")
    assert repository.branches["main"] == main
    assert set(repository.files("next")) == names_in(other) | {".gitattributes"}
    loaded = load(session, "100hz", "test", streaming=True, revision="next")
    assert loaded["rows"] == rows_of("100hz", "test", seed=2)


def test_what_is_no_part_of_the_corpus_is_named_and_not_pushed(loopback_hub, session, corpus):
    (corpus / "LICENSE.txt").write_text("CC BY 4.0")
    (corpus / "patients.csv").write_text("name")
    (corpus / "500hz" / "old.parquet").write_text("old")
    (corpus / ".1000hz.building").mkdir()
    (corpus / ".1000hz.building" / "train-00000-of-00009.rows").write_text("unfinished")
    printed = session.run(PUSH, str(corpus), "user/others")
    assert "not part of it, and not pushed: 500hz/old.parquet, patients.csv\n" in printed
    files = set(loopback_hub.repositories["datasets", "user/others"].files())
    left_out = {"patients.csv", "500hz/old.parquet", ".1000hz.building/train-00000-of-00009.rows"}
    assert files == names_in(corpus) - left_out | {".gitattributes"}


# What the Hub refuses, and breaks.


def test_a_private_corpus_is_kept_from_others(loopback_hub, session, client, corpus):
    session.run(PUSH, str(corpus), "user/secret", "--private")
    assert loopback_hub.repositories["datasets", "user/secret"].private
    assert load(session, "100hz", "test", streaming=True, repo_id="user/secret")["rows"] == rows_of("100hz", "test")
    code = 'from datasets import load_dataset; load_dataset("user/secret", "100hz", split="test", streaming=True)'
    for user in ("other", None):
        assert "DatasetNotFoundError" in client.start(code, user=user).stderr


def test_a_public_repository_is_not_pushed_to_as_private(loopback_hub, session, pushed, original):
    seen = len(loopback_hub.requests)
    answer = session.ask(PUSH, str(original), NAME, "--private", "--revision", "secret")
    assert answer["error"] == "ValueError"
    assert f"{NAME} is there already and is public: make it private in its settings" in answer["message"]
    assert [method for method, path in loopback_hub.requests[seen:]] == ["POST", "GET"]
    assert "secret" not in pushed[0].branches


def test_without_a_token_that_may_write_the_way_out_is_said(session, pushed, original):
    for user, name, reason in [
        (None, NAME, "there is no token for the Hub: run `hf auth login`, or set HF_TOKEN"),
        (
            "nobody",
            NAME,
            "the Hub does not accept the token (Invalid credentials in Authorization header): run `hf auth",
        ),
        ("other", NAME, f"the token may not write to {NAME} (You don't have the rights to write here): run `hf auth"),
        ("other", "user/new", "the token may not write to user/new (You don't have the rights to create datasets"),
    ]:
        answer = session.ask(PUSH, str(original), name, user=user)
        assert answer["error"] == "PermissionError"
        assert answer["message"].startswith(reason)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (503, "RuntimeError", f"the push to {NAME} broke off (the Hub answered 503, as the test wants): run the same"),
        (400, "ValueError", f"the Hub refuses the push to {NAME}: as the test wants"),
        (404, "PermissionError", f"there is no {NAME} that the token may see (as the test wants): run `hf auth login`"),
    ],
)
def test_other_answers_of_the_hub_are_said_in_a_line(loopback_hub, session, pushed, original, status, error, reason):
    loopback_hub.fail_next("POST", "/api/repos/create", status=status)
    answer = session.ask(PUSH, str(original), NAME)
    assert (answer["error"], answer["message"][: len(reason)]) == (error, reason)
    assert "\n" not in answer["message"]


def test_a_card_that_cannot_be_read_is_written_over(loopback_hub, session, original):
    name = "user/unreadable"
    session.run(PUSH, str(original), name)
    repository = loopback_hub.repositories["datasets", name]
    broken = type(repository.files()["README.md"])(b"---\nconfigs: [\n---\n")
    repository.commit("main", {**repository.files(), "README.md": broken}, "by hand")
    session.run(PUSH, str(original), name)
    assert repository.files()["README.md"].content == (original / "README.md").read_bytes()


def test_configs_that_the_folder_lacks_are_not_lost(session, pushed, tmp_path):
    repository, _ = pushed
    commits = len(repository.commits)
    partial = make_corpus(tmp_path / "partial", configs=["100hz"])
    answer = session.ask(PUSH, str(partial), NAME)
    assert answer["error"] == "ValueError"
    assert f"{NAME} has 500hz too, which the pushed card would no longer name: build them into" in answer["message"]
    assert len(repository.commits) == commits


def test_a_push_that_broke_off_goes_on(loopback_hub, session, original):
    name = "user/broken"
    shards = [path for path in names_in(original) if path.endswith(".parquet")]
    seen = len(loopback_hub.requests)

    def push_and_count() -> tuple[dict, int]:
        nonlocal seen
        answer = session.ask(PUSH, str(original), name)
        stored = [path for method, path in loopback_hub.requests[seen:] if method == "PUT"]
        seen = len(loopback_hub.requests)
        return answer, len(stored)

    loopback_hub.fail_next("PUT", f"/lfs/datasets/{name}", status=400, after=8)
    answer, stored = push_and_count()
    assert answer["error"] == "RuntimeError"
    assert answer["message"].startswith(f"the push to {name} broke off (")
    assert answer["message"].endswith(
        ": run the same command again, what was uploaded is not sent again. Until then readers see the repository as "
        "it was"
    )
    repository = loopback_hub.repositories["datasets", name]
    assert len(repository.commits) == 1

    loopback_hub.fail_next("POST", f"{name}/commit/")  # the connection drops
    answer, stored_now = push_and_count()
    assert answer["message"].startswith(f"the push to {name} broke off (")
    assert len(repository.commits) == 1

    loopback_hub.fail_next("POST", f"{name}/commit/", status=412)
    answer, stored_then = push_and_count()
    assert answer["message"].startswith(f"somebody else pushed to {name} meanwhile, so nothing was changed")

    assert "printed" in push_and_count()[0]
    assert set(repository.files()) == names_in(original) | {".gitattributes"}
    assert len(repository.commits) == 2
    assert (stored + stored_now, stored_then) == (len(shards) + 1, 0)  # the one that failed was sent twice


def test_what_another_pushes_meanwhile_is_not_overwritten(loopback_hub, session, original):
    code = """
from huggingface_hub import HfApi
from mets_ecg.hub.push import push_folder

def create_commit(self, repo_id, *all, real=HfApi.create_commit, **options):
    HfApi.create_commit = real
    self.upload_file(path_or_fileobj=b"theirs", path_in_repo="README.md", repo_id=repo_id, repo_type="dataset")
    return self.create_commit(repo_id, *all, **options)

HfApi.create_commit = create_commit
push_folder(arguments[0], "user/raced")
"""
    answer = session.ask(code, str(original))
    assert answer["error"] == "RuntimeError"
    assert answer["message"].startswith("somebody else pushed to user/raced meanwhile, so nothing was changed: look at")
    assert loopback_hub.repositories["datasets", "user/raced"].files()["README.md"].content == b"theirs"


def test_a_connection_that_drops_within_a_shard_is_taken_up_by_the_client(loopback_hub, session, original):
    loopback_hub.fail_next("PUT", "/lfs/datasets/user/dropped", times=2)
    session.run(PUSH, str(original), "user/dropped")
    files = loopback_hub.repositories["datasets", "user/dropped"].files()
    assert set(files) == names_in(original) | {".gitattributes"}


# Folders that are no whole corpus: refused before anything is sent.


def damage_readme(folder: Path) -> None:
    (folder / "README.md").unlink()


def damage_yaml(folder: Path) -> None:
    (folder / "README.md").write_text("---\nconfigs: [\n---\n")


def damage_configs(folder: Path) -> None:
    (folder / "README.md").write_text("# A card without metadata\n")


def damage_missing(folder: Path) -> None:
    (folder / "500hz" / "train-00001-of-00003.parquet").unlink()


def damage_last(folder: Path) -> None:
    (folder / "500hz" / "train-00002-of-00003.parquet").unlink()


def damage_split(folder: Path) -> None:
    (folder / "100hz" / "test-00000-of-00001.parquet").unlink()


def damage_mixed(folder: Path) -> None:
    shard = folder / "100hz" / "test-00000-of-00001.parquet"
    shutil.copy(shard, folder / "100hz" / "test-00000-of-00002.parquet")
    shutil.copy(shard, folder / "100hz" / "test-00001-of-00002.parquet")


def damage_cut(folder: Path) -> None:
    shard = folder / "100hz" / "test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-10])


def damage_rows(folder: Path) -> None:
    shutil.copy(
        folder / "500hz" / "test-00000-of-00001.parquet", folder / "500hz" / "validation-00000-of-00001.parquet"
    )


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (shutil.rmtree, FileNotFoundError, r"there is no folder '.*ptb-xl'"),
        (
            damage_readme,
            FileNotFoundError,
            r"is not a corpus that can be pushed, it has no README.md: `mets-ecg build` and",
        ),
        (damage_yaml, ValueError, r"the YAML on top of '.*README.md' cannot be read"),
        (damage_configs, ValueError, r"names no data files: it was not made by `mets-ecg build`"),
        (
            damage_missing,
            FileNotFoundError,
            r"500hz' has 2 of 3 shards of split train, train-00001-of-00003.parquet is",
        ),
        (damage_last, FileNotFoundError, r"500hz' has 2 of 3 shards of split train, train-00002-of-00003.parquet is"),
        (
            damage_split,
            FileNotFoundError,
            r"100hz' has no shards of split test: remove that folder and run the command",
        ),
        (
            damage_mixed,
            ValueError,
            r"100hz' mixes shards of two builds, as test-00000-of-00001.parquet and test-00000-of-00002.parquet",
        ),
        (damage_cut, ValueError, r"the shard '.*100hz/test-00000-of-00001.parquet' is damaged"),
        (
            damage_rows,
            ValueError,
            r"the card states 5 rows for 500hz, validation, the shards have 4: remove that folder",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_folder_that_is_no_whole_corpus_is_refused(corpus, damage, error, reason):
    damage(corpus)
    with pytest.raises(error, match=reason):
        push_folder(corpus, NAME)


def test_nothing_is_sent_of_a_corpus_with_a_missing_shard(loopback_hub, session, corpus):
    damage_missing(corpus)
    seen = len(loopback_hub.requests)
    assert session.ask(PUSH, str(corpus), NAME)["error"] == "FileNotFoundError"
    assert len(loopback_hub.requests) == seen


# Checkpoints: pushed, pulled and asked, with the package and without.

ASK_MODEL = """
import json, sys
if sys.argv[4] == "without":
    sys.modules["mets_ecg"] = None
else:
    import mets_ecg
import wfdb
from transformers import pipeline
name, path, labels, _, revision = sys.argv[1:6]
options = {"device": "cpu", "trust_remote_code": True, "revision": revision or None}
task = "zero-shot-classification" if labels else "ecg-classification"
call = {"candidate_labels": json.loads(labels)} if labels else {}
print("RESULT" + json.dumps(pipeline(task, model=name, **options)(wfdb.rdrecord(path), **call)))
"""
LABELS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block"]


@pytest.fixture(scope="module")
def record(ptb_xl_source) -> str:
    return str(ptb_xl_source / "records100" / "00000" / "00012_lr")


def ask(client, name, record, *, package: str, words: bool = True, revision: str = "") -> dict[str, float]:
    printed = client.run(ASK_MODEL, name, record, json.dumps(LABELS) if words else "", package, revision)
    return {answer["label"]: answer["score"] for answer in json.loads(printed.split("RESULT")[1])}


def ask_folder(folder, record, *, words: bool = True) -> dict[str, float]:
    task = "zero-shot-classification" if words else "ecg-classification"
    call = {"candidate_labels": LABELS} if words else {}
    answers = pipeline(task, model=str(folder), device="cpu")(wfdb.rdrecord(record), **call)
    return {answer["label"]: answer["score"] for answer in answers}


@pytest.mark.parametrize("name", ["tiny-mets", "tiny-c-melt", "tiny-classifier"])
def test_a_checkpoint_comes_back_and_gives_the_same_answers(loopback_hub, session, client, trained, record, name):
    printed = session.run(PUSH, str(trained[name]), f"clinic/{name}")
    repository = loopback_hub.repositories["models", f"clinic/{name}"]
    assert repository.messages == ["initial commit", f"Push {name}"]
    assert set(repository.files()) == names_in(trained[name]) | {".gitattributes", "handler.py"}
    assert f"a model of {len(names_in(trained[name])) + 1} files" in printed
    words = name != "tiny-classifier"
    expected = ask_folder(trained[name], record, words=words)
    for package in ("with", "without"):
        assert ask(client, f"clinic/{name}", record, package=package, words=words) == pytest.approx(expected, abs=1e-5)


def test_the_card_names_the_repository_that_it_is_pushed_to(loopback_hub, session, trained):
    session.run(PUSH, str(trained["tiny-mets"]), "user/carded")
    card = loopback_hub.repositories["models", "user/carded"].files()["README.md"].content.decode()
    assert 'model="user/carded"' in card and "org/this-model" not in card


def test_a_dry_run_lists_what_would_go_and_sends_nothing(loopback_hub, session, checkpoint):
    (checkpoint / "patients.csv").write_text("name")
    seen = len(loopback_hub.requests)
    printed = session.run(PUSH, str(checkpoint), "user/dry", "--dry-run").splitlines()
    assert "not part of it, and not pushed: patients.csv" in printed
    listed = {line.split()[0] for line in printed if line.startswith("  ")}
    assert listed == names_in(checkpoint) - {"patients.csv"} | {"handler.py"}
    assert len(loopback_hub.requests) == seen


@pytest.mark.parametrize("name", ["no id", "a/b/c", "user/x..y", ""])
def test_a_name_that_is_no_repository_is_refused(loopback_hub, session, trained, name):
    seen = len(loopback_hub.requests)
    answer = session.ask(PUSH, str(trained["tiny-mets"]), name)
    assert (answer["error"], answer["message"].partition(":")[0]) == (
        "ValueError",
        f"{name!r} is no id of a repository, as user/name",
    )
    assert len(loopback_hub.requests) == seen


def test_a_revision_that_is_pinned_stays_while_main_moves_on(loopback_hub, session, client, checkpoint, record):
    session.run(PUSH, str(checkpoint), "user/moving")
    repository = loopback_hub.repositories["models", "user/moving"]
    pinned, before = repository.branches["main"], ask_folder(checkpoint, record)
    model = AutoModel.from_pretrained(checkpoint)
    with torch.no_grad():
        for parameter in model.ecg_projection.parameters():
            parameter.mul_(-1)
    model.save_pretrained(checkpoint)
    session.run(PUSH, str(checkpoint), "user/moving")
    after = ask_folder(checkpoint, record)
    assert repository.branches["main"] != pinned and after != pytest.approx(before, abs=1e-3)
    assert ask(client, "user/moving", record, package="without", revision=pinned) == pytest.approx(before, abs=1e-5)
    assert ask(client, "user/moving", record, package="without") == pytest.approx(after, abs=1e-5)


def test_an_unchanged_checkpoint_makes_no_commit(loopback_hub, session, trained):
    for _ in range(2):
        session.run(PUSH, str(trained["tiny-mets"]), "user/still")
    assert len(loopback_hub.repositories["models", "user/still"].commits) == 2


def test_weights_of_an_earlier_push_do_not_stay(loopback_hub, session, checkpoint):
    session.run(PUSH, str(checkpoint), "user/resharded")
    repository = loopback_hub.repositories["models", "user/resharded"]
    AutoModel.from_pretrained(checkpoint).save_pretrained(checkpoint, max_shard_size="20KB")
    (checkpoint / "model.safetensors").unlink(missing_ok=True)
    session.run(PUSH, str(checkpoint), "user/resharded")
    weights = {name for name in repository.files() if name.endswith(".safetensors")}
    assert len(weights) > 1 and "model.safetensors" not in weights


KILLED = """
import sys
from mets_ecg.hub.push import push_folder
push_folder(sys.argv[1], "user/killed")
"""


def test_a_push_that_is_killed_leaves_nothing_and_is_repeated(loopback_hub, client, session, trained, record):
    folder = trained["tiny-mets"]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], env=client.env(), cwd=client.home)
    repository, deadline = None, time.monotonic() + 120
    while not (repository and repository.blobs) and time.monotonic() < deadline:  # the weights are there
        repository = loopback_hub.repositories.get(("models", "user/killed"))
        time.sleep(0.001)
    process.kill()
    process.wait()
    before = len(repository.commits)
    session.run(PUSH, str(folder), "user/killed")
    assert len(repository.commits) == 2 and before in (1, 2)
    assert ask(client, "user/killed", record, package="without") == pytest.approx(ask_folder(folder, record), abs=1e-5)


def test_what_was_pulled_works_without_the_hub(loopback_hub, session, client, trained, record):
    session.run(PUSH, str(trained["tiny-mets"]), "user/cached")
    online = ask(client, "user/cached", record, package="without")
    seen = len(loopback_hub.requests)
    code = "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n" + ASK_MODEL
    printed = client.run(code, "user/cached", record, json.dumps(LABELS), "without", "")
    assert {one["label"]: one["score"] for one in json.loads(printed.split("RESULT")[1])} == pytest.approx(online)
    assert len(loopback_hub.requests) == seen
    missing = client.start(code, "user/never-pulled", record, json.dumps(LABELS), "without", "")
    assert missing.returncode != 0 and "offline mode" in missing.stderr
    ours = "import os, sys; os.environ['HF_HUB_OFFLINE'] = '1'\nimport mets_ecg_cli; mets_ecg_cli.main(sys.argv[1:])"
    told = client.start(ours, "evaluate", "--model", "user/never-pulled", "--source", "x").stderr
    assert "no checkpoint 'user/never-pulled'" in told and "`hf download user/never-pulled` fetches it" in told


# Whatever is not torch, transformers, NumPy, SciPy or what these need.
BLOCKED = """
import sys
class Blocked:
    names = {"mets_ecg", "mets_ecg_cli", "wfdb", "datasets", "accelerate", "evaluate", "sklearn", "pandas", "pyarrow"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Blocked())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.partition(".")[0] in Blocked.names else real(name, *rest)
import numpy as np
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline
trust = {"trust_remote_code": True}
ecg = np.load(sys.argv[1])
assert AutoConfig.from_pretrained("clinic/blocked", **trust).model_type == "ecg_text"
model = AutoModel.from_pretrained("clinic/blocked", **trust)
processor = AutoProcessor.from_pretrained("clinic/blocked", **trust)
inputs = processor(ecg=ecg, sampling_rate=100, text=["sinus rhythm"], return_tensors="pt")
assert model(**inputs).logits_per_ecg.shape == (1, 1)
assert AutoModelForSequenceClassification.from_pretrained("clinic/blocked-classifier", **trust).config.num_labels == 12
pipe = pipeline("zero-shot-classification", model="clinic/blocked", device="cpu", **trust)
assert len(pipe(ecg, sampling_rate=100, candidate_labels=["a", "b"])) == 2
try:
    pipe("recording.hea", candidate_labels=["a"])
except ImportError as error:
    print(error)
"""


def test_nothing_but_torch_transformers_numpy_and_scipy_is_needed(session, client, trained, tmp_path):
    session.run(PUSH, str(trained["tiny-mets"]), "clinic/blocked")
    session.run(PUSH, str(trained["tiny-classifier"]), "clinic/blocked-classifier")
    np.save(tmp_path / "ecg.npy", np.random.default_rng(0).normal(size=(12, 1000)))
    assert "mets-ecg" in client.run(BLOCKED, str(tmp_path / "ecg.npy"))


def test_a_pre_training_checkpoint_is_whole_without_the_package(session, client, trained):
    session.run(PUSH, str(trained["tiny-c-melt"]), "clinic/whole")
    code = """
import sys
sys.modules["mets_ecg"] = None
from transformers import AutoModel, AutoModelForPreTraining
for auto in (AutoModel, AutoModelForPreTraining):
    print(type(auto.from_pretrained("clinic/whole", trust_remote_code=True)).__name__)
"""
    assert client.run(code).split()[-2:] == ["ECGTextModel", "ECGTextForPreTraining"]
