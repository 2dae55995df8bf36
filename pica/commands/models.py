"""`pica models`: the kinds of models, a line each."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def main(options: argparse.Namespace) -> int:
    """Print the providers."""
    from pica.synth.models import PROVIDERS

    for name, (_, _, what) in PROVIDERS.items():
        print(f"{name:<10} {what}")
    return 0
