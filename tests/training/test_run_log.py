import json

import pytest

from mets_ecg.training.processes import make_accelerator
from mets_ecg.training.run_folder import RunFolder
from mets_ecg.training.run_log import RunLog


@pytest.fixture
def log(arguments):
    run = RunFolder(arguments, "regression")
    run.working.mkdir()

    def log(step):
        return RunLog(make_accelerator(arguments), arguments, run, step=step, total_steps=10, records_per_step=4)

    log.path = run.working / "log.jsonl"
    return log


def test_a_resumed_log_loses_the_lines_of_steps_that_are_done_again(log):
    with log(0) as first:
        for step in (1, 2, 3):
            first.write(step, {"loss": 1.0 / step})
    with open(log.path, "a") as file:
        file.write('{"step": 4, "lo')  # killed while it wrote
    with log(2) as resumed:
        resumed.write(3, {"loss": 9.0})
    lines = [json.loads(line) for line in log.path.open()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 0.5), (3, 9.0)]


def test_a_line_stands_in_the_file_as_soon_as_it_is_written(log):
    with log(0) as running:
        running.write(1, {"loss": 2.0, "epoch": 1})
        assert json.loads(log.path.read_text()) == {"step": 1, "loss": 2.0, "epoch": 1}
