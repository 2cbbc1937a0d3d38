"""What of a folder goes to the Hub: of a corpus, a checkpoint or a metric, told by what the folder holds.

Files are pushed because they are known to belong there. What else lies in the folder is named, and stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard
from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files

from ..data.building.shards import BUILD_SUMMARY, REBUILD, split_files
from .metric_space import space_files
from .model_card import check_model_card

# Of a checkpoint, beside its weights and its code.
_OF_CHECKPOINTS = (
    "README.md", "config.json", "processor_config.json", "preprocessor_config.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt",
    "spiece.model", "sentencepiece.bpe.model", "training_args.yaml", "metrics.json", "log.jsonl", "LICENSE*",
)  # fmt: skip
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class PushFolder:
    """What of a folder is pushed.

    Attributes:
        repo_type: `"dataset"`, `"model"` or `"space"`.
        files: name in the repository -> path of the file, or its content where it is made for the push.
        others: files of the folder that are not pushed.
        described: lines that say what it is.
        message: of the commit.
        configs: of a corpus.
    """

    repo_type: str
    files: Mapping[str, Path | bytes]
    others: list[str]
    described: list[str]
    message: str
    configs: tuple[str, ...] = ()


def read_folder(folder: str | os.PathLike[str]) -> PushFolder:
    """Return what of a folder is pushed.

    Raises:
        ValueError: what the folder holds is not whole, or its card is not.
        FileNotFoundError: the folder, or a file that must be there, is not.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    if (folder / "config.json").is_file():
        return read_checkpoint_folder(folder)
    if (folder / f"{folder.resolve().name}.py").is_file():
        return read_metric_folder(folder)
    return read_corpus_folder(folder)


def read_checkpoint_folder(folder: str | os.PathLike[str]) -> PushFolder:
    """Return what of a checkpoint's folder is pushed: weights, configs, the code that they name, and the card.

    Raises:
        ValueError: weights or config cannot be read, the folder lacks its own code, or the card is not whole.
        FileNotFoundError: weights, the processor or the card are not there.
    """
    folder = Path(folder)
    there = sorted(path.name for path in folder.iterdir() if path.is_file())
    weights = [name for name in there if any(fnmatch(name, pattern) for pattern in _WEIGHTS)]
    shards = [name for name in weights if name.endswith(".safetensors")]
    if not shards:
        raise FileNotFoundError(f"{str(folder)!r} has a config.json and no model.safetensors: save the model there")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        wanted = {*json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        if missing := sorted(wanted - {*shards}):
            raise FileNotFoundError(f"{str(folder)!r} lacks {missing[0]}, which its index names: save the model again")
    for name in shards:
        try:
            with safe_open(folder / name, framework="pt") as opened:
                opened.keys()
        except SafetensorError as error:
            raise ValueError(
                f"the weights {str(folder / name)!r} are damaged ({error}): save the model again"
            ) from error
    if not {"processor_config.json", "preprocessor_config.json"} & {*there}:
        raise FileNotFoundError(
            f"{str(folder)!r} has no processor_config.json: save the model's processor there too, "
            "processor.save_pretrained(folder)"
        )
    check_model_card(folder)
    kept = [name for name in there if any(fnmatch(name, pattern) for pattern in _OF_CHECKPOINTS)]
    files = {name: folder / name for name in [*kept, *weights, *_code_files(folder)]}
    size = sum((folder / name).stat().st_size for name in files)
    files["handler.py"] = Path(__file__).with_name("handler.py")
    described = [f"a model of {len(files)} files, {size / 1e6:.1f} MB"]
    return PushFolder("model", files, _others(folder, files), described, f"Push {folder.resolve().name}")


def _code_files(folder: Path) -> list[str]:
    """Return the code that the configs of a checkpoint name, and what that imports."""
    modules: set[str] = set()
    for name in ("config.json", "processor_config.json", "preprocessor_config.json"):
        if (folder / name).is_file():
            fields = json.loads((folder / name).read_text(encoding="utf-8"))
            named = [
                *fields.get("auto_map", {}).values(),
                *fields.get("feature_extractor", {}).get("auto_map", {}).values(),
            ]
            named += [entry["impl"] for entry in fields.get("custom_pipelines", {}).values()]
            modules |= {
                one.partition(".")[0] for own in named for one in (own if isinstance(own, list) else [own]) if one
            }
    if not modules:
        raise ValueError(
            f"the config of {str(folder)!r} names no code: save the model by mets-ecg's own classes, whose folders "
            "load where the package is not installed"
        )
    missing = sorted(module for module in modules if not (folder / f"{module}.py").is_file())
    if missing:
        raise FileNotFoundError(
            f"{str(folder)!r} lacks {missing[0]}.py, which its config names: load model and processor, and save them "
            "to another folder by save_pretrained(...), which writes their code"
        )
    imported = {path for module in modules for path in get_relative_import_files(folder / f"{module}.py")}
    return sorted({f"{module}.py" for module in modules} | {Path(path).name for path in imported})


def read_metric_folder(folder: str | os.PathLike[str]) -> PushFolder:
    """Return the Space of one of the package's metrics: its modules, a card and an app, as `evaluate` loads it."""
    folder = Path(folder)
    modules = {path.name: path.read_bytes() for path in sorted(folder.glob("*.py"))}  # some are links
    name = folder.resolve().name
    files = modules | space_files(folder)
    return PushFolder("space", files, _others(folder, files), [f"the metric {name}"], f"Push {name}")


def _others(folder: Path, files: Collection[str]) -> list[str]:
    """Return the files of a folder that are not pushed; hidden ones are not named."""
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    shown = (path for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts))
    return [path.as_posix() for path in shown if path.as_posix() not in files]


def read_corpus_folder(folder: str | os.PathLike[str]) -> PushFolder:
    """Return what of a corpus folder is pushed, having read every shard's footer.

    Raises:
        ValueError: the card is not a data-set card, or does not agree with the shards; or a shard is damaged.
        FileNotFoundError: the folder, its card or a shard is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r}")
    if not (folder / "README.md").is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is not a corpus that can be pushed, it has no README.md: `mets-ecg build` and `mets-ecg "
            "prepare` make one. If one of them was stopped, run it again, it goes on"
        )
    try:
        card = DatasetCard.load(folder / "README.md")
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"the YAML on top of {str(folder / 'README.md')!r} cannot be read: {error}") from error
    rows, files = {}, ["README.md", *sorted(path.name for path in folder.glob("LICENSE*"))]
    stated = DatasetInfosDict.from_dataset_card_data(card.data)
    for config, splits in _data_files(card, folder).items():
        rows[config] = {}
        for split, pattern in splits.items():
            shards = split_files(folder / PurePosixPath(pattern).parent, split)
            rows[config][split] = sum(map(_num_rows, shards))
            expected = (stated[config].splits or {}).get(split) if config in stated else None
            if expected is not None and expected.num_examples != rows[config][split]:
                raise ValueError(
                    f"{str(folder)!r}: the card states {expected.num_examples} rows for {config}, {split}, the shards "
                    f"have {rows[config][split]}: {REBUILD}"
                )
            summary = [path for path in [shards[0].with_name(BUILD_SUMMARY)] if path.is_file()]
            files += [path.relative_to(folder).as_posix() for path in shards + summary]
    return PushFolder(
        repo_type="dataset",
        files={name: folder / name for name in files},
        others=_others(folder, files),
        described=[
            f"{config}: " + ", ".join(f"{split} {count}" for split, count in splits.items()) + " rows"
            for config, splits in rows.items()
        ],
        message=f"Push {', '.join(rows)}",
        configs=tuple(rows),
    )


def _data_files(card: DatasetCard, folder: Path) -> dict[str, dict[str, str]]:
    """Config -> split -> pattern of its files, as the card says."""
    configs = {
        config["config_name"]: {entry["split"]: entry["path"] for entry in config.get("data_files") or []}
        for config in card.data.to_dict().get("configs") or []
    }
    if not any(configs.values()):
        raise ValueError(f"the card of {str(folder)!r} names no data files: it was not made by `mets-ecg build`")
    return configs


def _num_rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise ValueError(f"the shard {str(path)!r} is damaged ({error}): {REBUILD}") from error
