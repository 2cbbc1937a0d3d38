"""What C-MELT's full size costs on this processor, and what makes it cheaper.

    python examples/benchmarks/c_melt_rates.py

`c_melt_config()`: 321 M parameters, 12 leads, 10 s at 500 Hz, 64 text tokens; random weights and signals. What is
compared runs in turn, in several rounds; a ratio is the median over the rounds. A training step is forward, four
losses, backward, fused AdamW, zero_grad. Naive attention is PyTorch's unfused one (`SDPBackend.MATH`). The goals are
twice what
the released code does in fp32 on a machine of this class: 0.70 records/s of training, 4.2 records/s of ECG features.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from measuring import in_turn, make_parser, ratios, result_row, show, write
from torch.nn.attention import SDPBackend, sdpa_kernel

from mets_ecg import ECGTextForPreTraining
from mets_ecg.modeling_ecg_text_pretraining import c_melt_config
from mets_ecg.training.masking import draw_kept_tokens

SAMPLES, TOKENS = 5000, 64


def seconds(run: Callable[[], None]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure_training(model: ECGTextForPreTraining, options) -> list[dict]:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    batch_size, generator = options.batch_size, torch.Generator().manual_seed(0)
    num_tokens = model.ecg_model.num_tokens(SAMPLES)
    batch = {"input_values": torch.randn(batch_size, 12, SAMPLES)}
    batch["input_ids"] = torch.randint(32_000, (batch_size, TOKENS))
    batch["mlm_labels"] = torch.where(torch.rand(batch_size, TOKENS) < 0.25, batch["input_ids"], -100)
    batch["aligned"] = torch.arange(batch_size) % 2 == 0

    def step(ratio: float, *, bf16: bool = False) -> float:
        kept = draw_kept_tokens(batch_size, num_tokens, ratio, generator)

        def run() -> None:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                loss = model(**batch, kept_tokens=kept).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return batch_size / seconds(run)

    work = {"training step": lambda: step(0.75), "training step, no token dropped": lambda: step(0.0)}
    if options.bf16:
        work["training step, bf16"] = lambda: step(0.75, bf16=True)
    return rows_of(work, options.rounds, at_least=1.4)


def measure_features(model: ECGTextForPreTraining, options) -> list[dict]:
    model.eval().zero_grad(set_to_none=True)
    values = torch.randn(4 * options.batch_size, 12, SAMPLES)

    @torch.inference_mode()
    def features(*, naive: bool = False, bf16: bool = False) -> float:
        backends = [SDPBackend.MATH] if naive else [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
        with sdpa_kernel(backends), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return len(values) / seconds(lambda: model.get_ecg_features(values))

    work = {"ECG features": features, "ECG features, naive attention": lambda: features(naive=True)}
    if options.bf16:
        work["ECG features, bf16"] = lambda: features(bf16=True)
    return rows_of(work, options.rounds, at_least=8.4)


def rows_of(work: dict[str, Callable[[], float]], rounds: int, *, at_least: float) -> list[dict]:
    """Return rows of the table: the first piece of work beside each of the others."""
    rates = in_turn(work, rounds)
    first, *others = work
    rows = [result_row(first, rates[first], "records/s", at_least=at_least)]
    for name in others:
        rows.append(result_row(name, rates[name], "records/s"))
        rows.append(result_row(f"{first} / {name}", ratios(rates[first], rates[name]), ""))
    return rows


def main() -> None:
    parser = make_parser(__file__, __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=4, help="of training; features are of four times as many")
    parser.add_argument(
        "--bf16", action="store_true", help="autocast to bfloat16 too, where the processor computes in it"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    model = ECGTextForPreTraining(c_melt_config())
    rows = measure_training(model, options) + measure_features(model, options)
    show(rows)
    write(options.output, {"batch_size": options.batch_size, "text_tokens": TOKENS, "rows": rows})


if __name__ == "__main__":
    main()
