"""`python -m pica.synth.serve_fake` is `pica serve-fake`."""

from __future__ import annotations

import argparse
import sys

from pica.synth.errors import UsageError
from pica.synth.serve_fake import add_arguments, main

parser = argparse.ArgumentParser("pica serve-fake", description="An OpenAI-compatible server that plays faults.")
add_arguments(parser)
try:
    sys.exit(main(parser.parse_args()))
except UsageError as error:
    parser.error(str(error))
