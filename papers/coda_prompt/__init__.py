"""CODA-Prompt and its field, compared on equal terms."""
