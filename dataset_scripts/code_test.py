"""CODE-test: 827 recordings in one HDF5 file, read by six readers.

    python dataset_scripts/code_test.py --source code-test --output corpora/code-test

The same as `mets-ecg build code-test`; how it is read: `src/mets_ecg/data/corpora/code_test.py`.
"""

import sys

from mets_ecg_cli import main

if __name__ == "__main__":
    sys.exit(main(["build", "code-test", *sys.argv[1:]]))
