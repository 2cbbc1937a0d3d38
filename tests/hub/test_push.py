"""A corpus goes to the loopback Hub by the real client, and comes back."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetInfo, Features, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from mets_ecg.hub.push import push_corpus

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
    printed = session.run(PUSH, str(original), "--repo-id", NAME)
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
    assert session.run(PUSH, str(original), "--repo-id", NAME) == printed
    assert len(repository.commits) == commits
    assert not [path for method, path in loopback_hub.requests[seen:] if method == "PUT"]


def test_no_shard_of_an_earlier_push_stays(loopback_hub, session, original, tmp_path):
    name = "clinic/rebuilt"
    session.run(PUSH, str(original), "--repo-id", name)
    repository = loopback_hub.repositories["datasets", name]
    session.run(
        'from huggingface_hub import HfApi; HfApi().upload_file(path_or_fileobj=b"1", path_in_repo="extra/a.parquet", '
        'repo_id="clinic/rebuilt", repo_type="dataset")'
    )
    commits = len(repository.commits)
    rebuilt = make_corpus(tmp_path / "rebuilt", shards={"train": 2, "test": 1}, seed=1)
    session.run(PUSH, str(rebuilt), "--repo-id", name)
    assert len(repository.commits) == commits + 1
    assert set(repository.files()) == names_in(rebuilt) | {".gitattributes", "extra/a.parquet"}
    assert load(session, "100hz", "train", streaming=True, repo_id=name)["rows"] == rows_of("100hz", "train", seed=1)


def test_a_branch_is_pushed_to_and_main_stays(loopback_hub, session, pushed, tmp_path):
    repository, _ = pushed
    main = repository.branches["main"]
    other = make_corpus(tmp_path / "other", shards={"test": 1}, seed=2)
    session.run(PUSH, str(other), "--repo-id", NAME, "--revision", "next")
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
    printed = session.run(PUSH, str(corpus), "--repo-id", "user/others")
    assert "not part of the corpus, and not pushed: 500hz/old.parquet, patients.csv\n" in printed
    files = set(loopback_hub.repositories["datasets", "user/others"].files())
    left_out = {"patients.csv", "500hz/old.parquet", ".1000hz.building/train-00000-of-00009.rows"}
    assert files == names_in(corpus) - left_out | {".gitattributes"}


# What the Hub refuses, and breaks.


def test_a_private_corpus_is_kept_from_others(loopback_hub, session, client, corpus):
    session.run(PUSH, str(corpus), "--repo-id", "user/secret", "--private")
    assert loopback_hub.repositories["datasets", "user/secret"].private
    assert load(session, "100hz", "test", streaming=True, repo_id="user/secret")["rows"] == rows_of("100hz", "test")
    code = 'from datasets import load_dataset; load_dataset("user/secret", "100hz", split="test", streaming=True)'
    for user in ("other", None):
        assert "DatasetNotFoundError" in client.start(code, user=user).stderr


def test_a_public_repository_is_not_pushed_to_as_private(loopback_hub, session, pushed, original):
    seen = len(loopback_hub.requests)
    answer = session.ask(PUSH, str(original), "--repo-id", NAME, "--private", "--revision", "secret")
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
        answer = session.ask(PUSH, str(original), "--repo-id", name, user=user)
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
    answer = session.ask(PUSH, str(original), "--repo-id", NAME)
    assert (answer["error"], answer["message"][: len(reason)]) == (error, reason)
    assert "\n" not in answer["message"]


def test_a_card_that_cannot_be_read_is_written_over(loopback_hub, session, original):
    name = "user/unreadable"
    session.run(PUSH, str(original), "--repo-id", name)
    repository = loopback_hub.repositories["datasets", name]
    broken = type(repository.files()["README.md"])(b"---\nconfigs: [\n---\n")
    repository.commit("main", {**repository.files(), "README.md": broken}, "by hand")
    session.run(PUSH, str(original), "--repo-id", name)
    assert repository.files()["README.md"].content == (original / "README.md").read_bytes()


def test_configs_that_the_folder_lacks_are_not_lost(session, pushed, tmp_path):
    repository, _ = pushed
    commits = len(repository.commits)
    partial = make_corpus(tmp_path / "partial", configs=["100hz"])
    answer = session.ask(PUSH, str(partial), "--repo-id", NAME)
    assert answer["error"] == "ValueError"
    assert f"{NAME} has 500hz too, which the pushed card would no longer name: build them into" in answer["message"]
    assert len(repository.commits) == commits


def test_a_push_that_broke_off_goes_on(loopback_hub, session, original):
    name = "user/broken"
    shards = [path for path in names_in(original) if path.endswith(".parquet")]
    seen = len(loopback_hub.requests)

    def push_and_count() -> tuple[dict, int]:
        nonlocal seen
        answer = session.ask(PUSH, str(original), "--repo-id", name)
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
from mets_ecg.hub.push import push_corpus

def create_commit(self, repo_id, *all, real=HfApi.create_commit, **options):
    HfApi.create_commit = real
    self.upload_file(path_or_fileobj=b"theirs", path_in_repo="README.md", repo_id=repo_id, repo_type="dataset")
    return self.create_commit(repo_id, *all, **options)

HfApi.create_commit = create_commit
push_corpus(arguments[0], "user/raced")
"""
    answer = session.ask(code, str(original))
    assert answer["error"] == "RuntimeError"
    assert answer["message"].startswith("somebody else pushed to user/raced meanwhile, so nothing was changed: look at")
    assert loopback_hub.repositories["datasets", "user/raced"].files()["README.md"].content == b"theirs"


def test_a_connection_that_drops_within_a_shard_is_taken_up_by_the_client(loopback_hub, session, original):
    loopback_hub.fail_next("PUT", "/lfs/datasets/user/dropped", times=2)
    session.run(PUSH, str(original), "--repo-id", "user/dropped")
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
        push_corpus(corpus, NAME)


def test_nothing_is_sent_of_a_corpus_with_a_missing_shard(loopback_hub, session, corpus):
    damage_missing(corpus)
    seen = len(loopback_hub.requests)
    assert session.ask(PUSH, str(corpus), "--repo-id", NAME)["error"] == "FileNotFoundError"
    assert len(loopback_hub.requests) == seen
