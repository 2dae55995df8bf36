"""Pica makes alignment data out of language models, trains on it, measures the result, and feeds the measurement back.

The command line is `pica` (also `python -m pica`). The four floors are `pica.synth`, `pica.train`, `pica.eval` and
`pica.recipes`; imports go down only, from recipes to synth.
"""

__version__ = "0.1.0"
