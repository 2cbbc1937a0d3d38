"""What an inference endpoint of the Hub runs: a request in JSON to scores. It lies beside the weights.

A request: `{"inputs": {"signal": [[...], ...], "sampling_rate": 500}, "parameters": {"candidate_labels": [...]}}`.
"""

from typing import Any

import torch
from transformers import AutoConfig, pipeline


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
            ValueError: one of them is missing, or the recording cannot be read.
        """
        parameters = data.get("parameters") or {}
        if "inputs" not in data:
            raise ValueError(
                'the request has no "inputs": a recording, as {"signal": [[...], ...], "sampling_rate": 500}'
            )
        if self.in_words and "candidate_labels" not in parameters:
            raise ValueError('the request has no "candidate_labels" in its "parameters": what is asked, in words')
        return self.pipeline(data["inputs"], **parameters)
