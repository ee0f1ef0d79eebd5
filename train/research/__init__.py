"""One-off studies, and looks at a run that change nothing of it."""
