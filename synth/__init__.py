"""The ground floor: models, the ledger of calls, the run, rows, templates, prompts, filters."""
