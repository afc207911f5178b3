"""Small tools without knowledge of models: files, limits, child processes, optional packages, progress."""
