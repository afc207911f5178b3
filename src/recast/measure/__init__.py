"""Measuring models: data, size, cost, latency, accuracy, robustness, attribution. Importing it loads nothing heavy."""
