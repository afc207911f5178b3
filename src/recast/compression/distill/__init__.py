"""Distillation methods: one file each; it sets ``METHODS = {name: class}``."""
