"""What an inference endpoint of the Hub runs: a request in JSON to scores. It lies beside the weights.

A request: `{"inputs": {"signal": [[...], ...], "sampling_rate": 500}, "parameters": {"candidate_labels": [...]}}`.
"""

from typing import Any

import torch
from transformers import AutoConfig, pipeline

_RECORDING = '{"signal": [[...], ...], "sampling_rate": 500}, or its samples as lists of numbers'


class EndpointHandler:
    """Answers requests with the checkpoint's own pipeline.

    Args:
        path: folder of the checkpoint.
    """

    def __init__(self, path: str = ""):
        config = AutoConfig.from_pretrained(path, trust_remote_code=True)
        self.in_words = config.model_type != "ecg_classification"
        task = "zero-shot-classification" if self.in_words else "ecg-classification"
        device = 0 if torch.cuda.is_available() else "cpu"
        self.pipeline = pipeline(task, model=path, trust_remote_code=True, device=device)

    def __call__(self, data: dict[str, Any]) -> list:
        """Return a list of `label` and `score`, of several recordings a list of such lists.

        Args:
            data: `inputs`, a recording as the pipeline takes it from JSON (a dict with `signal`, leads x samples,
                `sampling_rate` and, where they are others, `lead_names` and `units`), or a list of them; and
                `parameters` of the pipeline's call, of a model that is asked in words `candidate_labels`.

        Raises:
            ValueError: one of them is missing or of another kind, or the recording cannot be read. Paths are refused:
                whoever asks may not read files here.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise ValueError(f'the request has no "inputs": a recording, as {_RECORDING}')
        parameters = data.get("parameters") or {}
        if not isinstance(parameters, dict) or "inputs" in parameters:
            raise ValueError(
                '"parameters" must be an object of names and values, as {"candidate_labels": ["...", ...]}'
            )
        inputs = data["inputs"]
        for one in inputs if isinstance(inputs, list) else [inputs]:
            if not isinstance(one, (dict, list, int, float, type(None))) or (isinstance(one, dict) and "path" in one):
                raise ValueError(f'"inputs" must be a recording or a list of them, each as {_RECORDING}')
        if self.in_words and "candidate_labels" not in parameters:
            raise ValueError('the request has no "candidate_labels" in its "parameters": what is asked, in words')
        try:
            return self.pipeline(data["inputs"], **parameters)
        except TypeError as error:  # of what was asked, too
            raise ValueError(str(error)) from error
