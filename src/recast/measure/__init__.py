"""Measuring models: labelled data, streamed calibration statistics. Importing this package loads nothing heavy."""
