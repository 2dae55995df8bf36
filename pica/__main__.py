"""`python -m pica` is the `pica` command."""

import sys

from pica.cli import main

sys.exit(main())
