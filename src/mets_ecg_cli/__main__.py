"""`python -m mets_ecg_cli`, the same as the console script `mets-ecg`."""

import sys

from . import main

sys.exit(main())
