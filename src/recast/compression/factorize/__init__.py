"""Low rank and clustering methods: one file each; it sets ``METHODS = {name: class}``."""
