"""The handler of an inference endpoint answers requests in JSON, without the package."""

import json
import shutil

import numpy as np
import pytest
import wfdb
from transformers import pipeline

from mets_ecg.hub import handler

LABELS = ["sinus rhythm", "atrial fibrillation"]
CALL = """
import json, sys
sys.modules["mets_ecg"] = None
sys.path.insert(0, sys.argv[1])
from handler import EndpointHandler
answer = EndpointHandler(sys.argv[1])(json.loads(open(sys.argv[2]).read()))
print("RESULT" + json.dumps(answer))
"""


@pytest.fixture(scope="module")
def recording(ptb_xl_source) -> dict:
    record = wfdb.rdrecord(str(ptb_xl_source / "records100" / "00000" / "00012_lr"))
    return {"signal": np.round(record.p_signal.T, 3).tolist(), "sampling_rate": 100, "lead_names": record.sig_name}


@pytest.mark.parametrize("name", ["tiny-mets", "tiny-classifier"])
def test_a_request_is_answered_as_the_pipeline_does(trained, recording, client, tmp_path, name):
    folder = shutil.copytree(trained[name], tmp_path / name)
    shutil.copy(handler.__file__, folder / "handler.py")
    classifies = name == "tiny-classifier"
    parameters = {} if classifies else {"candidate_labels": LABELS}
    (tmp_path / "request.json").write_text(json.dumps({"inputs": recording, "parameters": parameters}))
    printed = client.run(CALL, str(folder), str(tmp_path / "request.json"))
    task = "ecg-classification" if classifies else "zero-shot-classification"
    expected = pipeline(task, model=str(trained[name]), device="cpu")(recording, **parameters)
    answer = json.loads(printed.split("RESULT")[1])
    assert [one["label"] for one in answer] == [one["label"] for one in expected]
    assert [one["score"] for one in answer] == pytest.approx([one["score"] for one in expected], abs=1e-5)


def test_null_is_a_lead_that_was_not_recorded_and_errors_are_the_asker_s(trained, recording):
    endpoint = handler.EndpointHandler(str(trained["tiny-mets"]))
    signal = [*recording["signal"][:11], None]
    parameters = {"candidate_labels": LABELS, "sampling_rate": 100}
    assert len(endpoint({"inputs": signal, "parameters": parameters})) == 2
    for wrong in ({"sampling_rate": "100"}, {"candidate_labels": 5}, {"nonsense": 1}):
        with pytest.raises(ValueError):
            endpoint({"inputs": recording["signal"], "parameters": parameters | wrong})


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        ({"parameters": {"candidate_labels": LABELS}}, 'no "inputs"'),
        ([1], 'no "inputs"'),
        ({"inputs": {"signal": [[0.0]]}, "parameters": LABELS}, '"parameters" must be an object'),
        ({"inputs": {"signal": [[0.0]]}, "parameters": {"inputs": 3}}, '"parameters" must be an object'),
        ({"inputs": "/etc/hostname", "parameters": {"candidate_labels": LABELS}}, '"inputs" must be a recording'),
        ({"inputs": ["ecg.hea"], "parameters": {"candidate_labels": LABELS}}, '"inputs" must be a recording'),
        ({"inputs": {"path": "ecg.hea"}, "parameters": {"candidate_labels": LABELS}}, '"inputs" must be a recording'),
        ({"inputs": {"signal": [[0.0]]}}, 'no "candidate_labels"'),
        ({"inputs": {"signal": [[0.1] * 500] * 12}, "parameters": {"candidate_labels": LABELS}}, "sampling_rate"),
    ],
)
def test_a_request_that_lacks_something_is_told_what(trained, request_body, reason):
    endpoint = handler.EndpointHandler(str(trained["tiny-mets"]))
    with pytest.raises(ValueError, match=reason):
        endpoint(request_body)
