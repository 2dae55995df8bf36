"""`pica audit`: is this judge worth believing? Exit code 0 when the audit is done, whatever it found."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pica.synth.errors import UsageError


def main(options: argparse.Namespace) -> int:
    """Run an audit; returns the exit code."""
    from pica.commands.run import print_keys, run_config
    from pica.eval.audit.config import AuditConfig

    if options.help_run:
        options.parser.print_help()
        print_keys("audit", AuditConfig)
        return 0
    from pica.eval.audit.audit import Audit

    return run_config(Audit, options, Path(options.config) if options.config else None, show=_show)


def _show(manifest: dict[str, Any], folder: Path) -> None:
    """The verdict, then every check."""
    from pica.eval.audit.result import told

    file = folder / "audit.json"
    if not file.is_file():
        raise UsageError(f"{folder} has no audit.json; give the command with --update to make it again")
    print(told(json.loads(file.read_text(encoding="utf-8"))))
