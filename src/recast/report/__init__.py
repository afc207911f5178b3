"""What is shown about a model or a conversion: data first, text made from it."""
