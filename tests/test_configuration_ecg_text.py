import json
import logging

import pytest
from transformers import AutoConfig, BertConfig, DistilBertConfig, T5Config

from mets_ecg import ECGResNetConfig, ECGTextConfig
from mets_ecg.configuration_ecg_text import build_ecg_config

SMALL_BERT = {
    "model_type": "bert",
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_default_encoder_is_resnet18():
    config = ECGResNetConfig()
    assert config.depths == [2, 2, 2, 2] and config.hidden_sizes == [64, 128, 256, 512]
    assert (config.num_leads, config.stem_kernel_size, config.kernel_size) == (12, 7, 3)
    assert config.hidden_size == 512


@pytest.mark.parametrize(
    ("fields", "stride"),
    [
        ({}, 2 * 2 * 8),
        ({"stem_pooling": False}, 2 * 8),
        ({"stem_stride": 3, "depths": [1, 1, 1], "hidden_sizes": [8, 8, 8]}, 3 * 2 * 4),
        ({"stem_stride": 1, "stem_pooling": False, "depths": [4], "hidden_sizes": [8]}, 1),
    ],
)
def test_frame_stride_is_the_product_of_all_strides(fields, stride):
    assert ECGResNetConfig(**fields).frame_stride == stride


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"num_leads": 12.0}, TypeError, "num_leads must be int, got 12.0"),
        ({"num_leads": True}, TypeError, "num_leads must be int, got True"),
        ({"num_leads": "12"}, TypeError, "num_leads must be int, got '12'"),
        ({"num_leads": 0}, ValueError, "num_leads must be finite and above 0, got 0"),
        ({"stem_stride": 0}, ValueError, "stem_stride must be finite and above 0, got 0"),
        ({"kernel_size": 1}, ValueError, "kernel_size must be at least 3 and odd, .* got 1"),
        ({"kernel_size": 4}, ValueError, "kernel_size must be at least 3 and odd"),
        ({"stem_kernel_size": 8}, ValueError, "stem_kernel_size must be at least 3 and odd"),
        ({"sampling_rate": "500"}, TypeError, r"sampling_rate must be int \| float, got '500'"),
        ({"sampling_rate": 0}, ValueError, "sampling_rate must be finite and above 0, got 0"),
        ({"sampling_rate": float("nan")}, ValueError, "sampling_rate must be finite"),
        ({"stem_pooling": 1}, TypeError, "stem_pooling must be bool, got 1"),
        ({"norm": "layer"}, TypeError, r"norm must be Literal\['batch', 'group'\], got 'layer'"),
        ({"pooling": "mean"}, TypeError, r"Literal\['average', 'max', 'attention'\], got 'mean'"),
        ({"depths": 2}, TypeError, r"depths must be list\[int\] .* got 2"),
        ({"depths": [2, 2, 2, 2.0]}, TypeError, r"depths must be list\[int\] .* got \[2, 2, 2, 2.0\]"),
        ({"depths": []}, ValueError, "depths must hold at least one stage"),
        ({"depths": [2, 0, 2, 2]}, ValueError, "depths must hold at least one stage, each 1 or more"),
        ({"depths": [2, 2]}, ValueError, "must name as many stages"),
        ({"hidden_sizes": "64"}, TypeError, r"hidden_sizes must be list\[int\]"),
        ({"norm": "group", "num_groups": 7}, ValueError, "num_groups=7 must divide every hidden size"),
        ({"initializer_range": 0}, ValueError, "initializer_range must be finite and above 0"),
    ],
)
def test_encoder_fields_are_checked(fields, error, message):
    with pytest.raises(error, match=message):
        ECGResNetConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"projection_dim": "64"}, TypeError, r"projection_dim must be int \| None, got '64'"),
        ({"projection_dim": 0}, ValueError, "projection_dim must be finite and above 0"),
        ({"projection_layers": 0}, ValueError, "projection_layers must be finite and above 0"),
        ({"text_pooling": "max"}, TypeError, r"Literal\['cls', 'mean', 'pooler'\], got 'max'"),
        ({"similarity": "euclidean"}, TypeError, r"similarity must be Literal\['cosine', 'dot'\]"),
        ({"loss_type": "sigmoid"}, TypeError, r"loss_type must be Literal\['info-nce', 'decoupled'\]"),
        ({"duplicate_text_policy": True}, TypeError, r"Literal\['positives', 'ignored', 'negatives'\], got True"),
        ({"freeze_text_model": "yes"}, TypeError, "freeze_text_model must be bool"),
        ({"text_centering": None}, TypeError, "text_centering must be bool"),
        ({"logit_scale_init_value": "2"}, TypeError, r"logit_scale_init_value must be int \| float"),
        ({"logit_scale_max": -1}, ValueError, "logit_scale_max must be finite and above 0"),
        ({"logit_scale_init_value": 5}, ValueError, "must not be above 4.605, the log of logit_scale_max=100"),
        ({"logit_scale_init_value": 1000}, ValueError, "logit_scale_init_value=1000 must not be above 4.605"),
        ({"logit_scale_init_value": float("nan")}, ValueError, "logit_scale_init_value must be finite, got nan"),
        ({"text_model_id": 3}, TypeError, r"text_model_id must be str \| None"),
        ({"text_model_id": "/models/bert"}, ValueError, r"must be an id on the Hub \(owner/name\).* got '/models"),
        ({"text_model_id": "../bert"}, ValueError, "a folder means nothing on another machine"),
        ({"save_text_model": False}, ValueError, "needs text_model_id"),
        (
            {"save_text_model": False, "text_model_id": "a/b", "freeze_text_model": False},
            ValueError,
            "has weights of its own, which must be saved",
        ),
        ({"ecg_config": {"model_type": "ecg_lstm"}}, ValueError, "of type 'ecg_lstm', known are ecg_resnet"),
        ({"ecg_config": {"num_leads": 0}}, ValueError, "num_leads must be finite and above 0"),
        ({"ecg_config": BertConfig()}, TypeError, "must be a config of an ECG encoder or a dict, got BertConfig"),
        ({"ecg_config": "resnet"}, TypeError, r"ecg_config must be dict \| .*PreTrainedConfig \| None, got 'resnet'"),
        ({"text_config": {"model_type": "bart2"}}, ValueError, "of type 'bart2', which transformers does not know"),
        ({"text_config": "bert"}, TypeError, r"text_config must be dict \| .*PreTrainedConfig \| None, got 'bert'"),
        ({"text_config": T5Config(), "text_pooling": "pooler"}, ValueError, "a T5 encoder has no pooler"),
    ],
)
def test_dual_encoder_fields_are_checked(fields, error, message):
    with pytest.raises(error, match=message):
        ECGTextConfig(**fields)


def test_an_unknown_name_is_an_error_that_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"ECGResNetConfig has no field 'hiden_sizes' \(did you mean 'hidden_sizes'\?\)"
    ):
        ECGResNetConfig(hiden_sizes=[8])
    with pytest.raises(TypeError, match=r"ECGTextConfig has no field 'freeze_text' \(did you mean 'freeze_text_model'"):
        ECGTextConfig(freeze_text=False)
    with pytest.raises(TypeError, match=r"'num_lead' \(did you mean 'num_leads'\?\)"):
        ECGTextConfig(ecg_config={"num_lead": 3})
    with pytest.raises(TypeError, match="has no field 'zzz'; its fields are depths, hidden_sizes"):
        ECGResNetConfig(zzz=1)


def test_a_field_that_is_set_later_is_checked_too(tmp_path):
    config = ECGTextConfig(text_config=SMALL_BERT)
    with pytest.raises(TypeError, match="ECGTextConfig: loss_type must be Literal"):
        config.loss_type = "triplet"
    with pytest.raises(ValueError, match="ECGResNetConfig: kernel_size must be at least 3 and odd"):
        config.ecg_config.kernel_size = 4
    config.save_text_model = False
    with pytest.raises(ValueError, match="needs text_model_id"):
        config.save_pretrained(tmp_path)


def test_an_int_passes_for_a_float():
    config = ECGTextConfig(
        ecg_config={"sampling_rate": 100}, text_config=SMALL_BERT, logit_scale_max=50, logit_scale_init_value=3
    )
    assert config.logit_scale_max == 50 and config.ecg_config.sampling_rate == 100
    assert ECGResNetConfig(sampling_rate=99.5).sampling_rate == 99.5


def test_what_transformers_passes_itself_is_known():
    config = ECGTextConfig(text_config=SMALL_BERT, architectures=["ECGTextModel"], dtype="float32", name_or_path="x")
    assert config.architectures == ["ECGTextModel"]
    assert ECGResNetConfig(id2label={0: "a", 1: "b", 2: "c"}).num_labels == 3


@pytest.mark.parametrize("name", ["auto_map", "custom_pipelines"])
def test_code_references_are_dropped_where_the_package_is_imported(name):
    assert not getattr(ECGTextConfig(text_config=SMALL_BERT, **{name: {"a": "b.C"}}), name, None)


def test_a_config_survives_saving(tmp_path):
    config = ECGTextConfig(
        ecg_config=ECGResNetConfig(depths=(1, 2), hidden_sizes=(6, 10), num_leads=5, norm="group", num_groups=2),
        text_config=T5Config(d_model=22, d_kv=5, num_layers=1, num_heads=3, vocab_size=40),
        projection_dim=None,
        text_pooling="mean",
        similarity="dot",
        duplicate_text_policy="ignored",
        loss_type="decoupled",
        text_model_id="owner/name",
        text_model_revision="abc",
    )
    config.save_pretrained(tmp_path / "one")
    loaded = ECGTextConfig.from_pretrained(tmp_path / "one")
    assert loaded.to_dict() == config.to_dict()
    assert loaded.ecg_config.depths == [1, 2] and loaded.ecg_config.num_leads == 5
    assert loaded.text_config.model_type == "t5" and loaded.hidden_size == loaded.text_config.d_model == 22
    loaded.save_pretrained(tmp_path / "two")
    assert (tmp_path / "one/config.json").read_bytes() == (tmp_path / "two/config.json").read_bytes()
    assert type(AutoConfig.from_pretrained(tmp_path / "one")) is ECGTextConfig


def test_an_encoder_config_survives_saving(tmp_path):
    config = ECGResNetConfig(depths=[1], hidden_sizes=[9], kernel_size=5, stem_pooling=False, pooling="attention")
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is ECGResNetConfig and loaded.to_json_string() == config.to_json_string()


def test_the_encoders_config_is_read_out_of_a_dual_encoders(tiny_checkpoint):
    config = ECGResNetConfig.from_pretrained(tiny_checkpoint)
    assert config.hidden_sizes == [6, 10, 14] and config.stem_kernel_size == 5


@pytest.fixture
def warnings_of_configs(monkeypatch):
    messages = []
    logger = logging.getLogger("mets_ecg.configuration_ecg_text")
    monkeypatch.setattr(logger, "warning", lambda message, *args, **kwargs: messages.append(message))
    return messages


def test_a_saved_file_with_an_unknown_field_only_warns(tmp_path, warnings_of_configs):
    ECGTextConfig(text_config=SMALL_BERT, projection_dim=17).save_pretrained(tmp_path)
    fields = read_json(tmp_path / "config.json")
    fields["logit_bias_init_value"] = -10
    fields["ecg_config"]["stochastic_depth"] = 0.1
    (tmp_path / "config.json").write_text(json.dumps(fields))
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert loaded.projection_dim == 17 and not hasattr(loaded, "logit_bias_init_value")
    assert not hasattr(loaded.ecg_config, "stochastic_depth")
    assert any("ECGTextConfig" in text and "logit_bias_init_value" in text for text in warnings_of_configs)
    assert any("ECGResNetConfig" in text and "stochastic_depth" in text for text in warnings_of_configs)


def test_a_saved_file_without_unknown_fields_does_not_warn(tmp_path, warnings_of_configs):
    ECGTextConfig(text_config=SMALL_BERT).save_pretrained(tmp_path)
    AutoConfig.from_pretrained(tmp_path)
    assert warnings_of_configs == []


@pytest.mark.parametrize("field", [{"use_cache": False}, {"pad_token_id": 0}])
def test_a_field_that_trainer_writes_into_a_saved_file_does_not_warn(tmp_path, warnings_of_configs, field):
    ECGTextConfig(text_config=SMALL_BERT, projection_dim=17).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    fields = read_json(path)
    path.write_text(json.dumps(fields | field | {"ecg_config": fields["ecg_config"] | field}))
    assert AutoConfig.from_pretrained(tmp_path).projection_dim == 17
    assert warnings_of_configs == []


def test_a_saved_file_with_a_wrong_value_is_an_error(tmp_path):
    ECGTextConfig(text_config=SMALL_BERT).save_pretrained(tmp_path)
    fields = read_json(tmp_path / "config.json")
    fields["ecg_config"]["kernel_size"] = 4
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match="kernel_size must be at least 3 and odd"):
        ECGTextConfig.from_pretrained(tmp_path)


def test_a_keyword_over_a_saved_file_is_checked_too(tmp_path):
    ECGTextConfig(text_config=SMALL_BERT).save_pretrained(tmp_path)
    assert ECGTextConfig.from_pretrained(tmp_path, loss_type="decoupled").loss_type == "decoupled"
    with pytest.raises(TypeError, match="loss_type must be Literal"):
        ECGTextConfig.from_pretrained(tmp_path, loss_type="triplet")
    with pytest.raises(TypeError, match="loss_type must be Literal"):
        ECGTextConfig.from_pretrained(tmp_path, loss_type="triplet", return_unused_kwargs=True)
    with pytest.raises(ValueError, match="needs text_model_id"):
        ECGTextConfig.from_pretrained(tmp_path, save_text_model=False)


def test_the_config_of_another_model_is_refused(tmp_path):
    BertConfig(hidden_size=24, num_attention_heads=3).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of a model of type 'bert', not 'ecg_text'"):
        ECGTextConfig.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of a model of type 'bert', not 'ecg_resnet'"):
        ECGResNetConfig.from_pretrained(tmp_path)


def test_folders_that_encoders_came_from_are_not_saved(tmp_path):
    for name, config in (("ecg", ECGResNetConfig()), ("text", BertConfig(hidden_size=24, num_attention_heads=3))):
        config.save_pretrained(tmp_path / name)
    config = ECGTextConfig(
        ecg_config=AutoConfig.from_pretrained(tmp_path / "ecg"),
        text_config=AutoConfig.from_pretrained(tmp_path / "text"),
    )
    config.ecg_config._name_or_path = config.text_config._name_or_path = str(tmp_path)
    config.save_pretrained(tmp_path / "both")
    saved = (tmp_path / "both/config.json").read_text()
    assert str(tmp_path) not in saved and "local_files_only" not in saved


def test_text_configs_of_several_types():
    assert ECGTextConfig().text_config.model_type == "bert"
    assert ECGTextConfig(text_config={"hidden_size": 24, "num_attention_heads": 3}).text_config.hidden_size == 24
    assert ECGTextConfig(text_config={"model_type": "t5", "d_model": 22}, projection_dim=None).hidden_size == 22
    assert ECGTextConfig(text_config=DistilBertConfig(dim=21, n_heads=3), projection_dim=None).hidden_size == 21


def test_an_ecg_config_is_taken_by_its_type_and_not_its_class():
    class ECGResNetConfigOfAHubRepository:
        model_type = "ecg_resnet"

    copy = ECGResNetConfigOfAHubRepository()
    assert build_ecg_config(copy) is copy
