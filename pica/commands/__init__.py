"""The subcommands that are no room of their own."""
