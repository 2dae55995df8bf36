"""The durable store of calls: `store` writes and reads it, `salvage` saves what a damaged one still holds."""

from pica.synth.ledger.store import Call, Entry, Ledger, Spent, call_content, call_key, read_calls

__all__ = ["Call", "Entry", "Ledger", "Spent", "call_content", "call_key", "read_calls"]
