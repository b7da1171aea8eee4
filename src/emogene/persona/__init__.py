"""See AGENTS.md."""
