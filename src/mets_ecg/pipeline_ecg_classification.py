"""`ECGClassificationPipeline`: classify recordings by a fine-tuned model; the task `"ecg-classification"`."""

from __future__ import annotations

import torch

from .pipeline_ecg import ECGPipeline

TASK = "ecg-classification"

# What a checkpoint's config.json says of this file, for use without the package.
CUSTOM_PIPELINES = {
    TASK: {
        "impl": "pipeline_ecg_classification.ECGClassificationPipeline",
        "pt": ["AutoModelForSequenceClassification"],
        "type": "multimodal",
    }
}


class ECGClassificationPipeline(ECGPipeline):
    """Give the probability of each class of an `ECGForSequenceClassification`.

    A multi-label model gives each class a probability of its own, a single-label model a softmax. A recording longer
    than the model's input is read by the feature extractor's `crop`; the probabilities of its windows are averaged.
    """

    _load_feature_extractor = True

    def __call__(self, inputs, **kwargs):
        """Classify one or many recordings.

        Args:
            inputs: a recording or many, as `ZeroShotECGClassificationPipeline` takes them.
            top_k: how many classes to return, best first; default all.
            sampling_rate, lead_names, units, crop: see `ECGFeatureExtractor.__call__`.
            return_details: say for each recording what its scores are based on; see the zero-shot pipeline.
            batch_size: recordings, or windows of them, in one forward pass.

        Returns:
            For a recording a list of `{"label", "score"}`, best first, and with the model's `thresholds` also
            `"present"`: whether the score reaches the class's. For many, a list of such lists, or an iterator of them
            where the input is consumed as it goes.

        Raises:
            ValueError, TypeError: a recording cannot be read right.
        """
        return self._answer(inputs, **kwargs)

    def _sanitize_parameters(self, top_k=None, **reading):
        return self._check_parameters(reading, top_k=top_k), {}, {} if top_k is None else {"top_k": top_k}

    def _forward(self, model_inputs):
        model_inputs, kept = self._split_inputs(model_inputs)
        return {"logits": self.model(**model_inputs).logits, **kept}

    def postprocess(self, model_outputs, top_k=None) -> list[dict] | dict:
        """Average the probabilities of a recording's windows."""
        config = self.model.config
        logits = torch.cat([output["logits"] for output in model_outputs]).double()
        probabilities = self.model.get_probabilities(logits)
        names = [config.id2label[i] for i in range(config.num_labels)]
        result = self._rank(names, probabilities.mean(dim=0), probabilities, model_outputs, top_k)
        if config.thresholds is not None:
            thresholds = dict(zip(names, config.thresholds, strict=True))
            for entry in result["scores"] if isinstance(result, dict) else result:
                entry["present"] = entry["score"] >= thresholds[entry["label"]]
        return result

    def save_pretrained(self, save_directory, **kwargs):
        """Save the model and the feature extractor, with their code."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.feature_extractor.save_pretrained(save_directory, **kwargs)
