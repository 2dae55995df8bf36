"""`pica recipes`: what there is, a line each."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No options."""


def main(options: argparse.Namespace) -> int:
    """Print the recipes."""
    from pica import recipes

    for name in recipes.names():
        print(f"{name:<18} {recipes.config_class(name).summary}")
    return 0
