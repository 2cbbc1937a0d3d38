"""MIMIC-IV-ECG 1.0: 800,000 recordings with the machine's report and measurements.

    python dataset_scripts/mimic_iv_ecg.py --source mimic-iv-ecg-1.0 --output corpora/mimic-iv-ecg

The same as `mets-ecg build mimic-iv-ecg`; how it is read: `src/mets_ecg/data/corpora/mimic_iv_ecg.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "mimic-iv-ecg", *sys.argv[1:]]))
