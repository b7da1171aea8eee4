"""`python -m emogene` is the command line."""

import sys

from emogene.cli import main

sys.exit(main())
