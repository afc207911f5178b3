"""Verification: does the target compute what the source computes, in the target's own runtime?

Rooms: ``feeds`` (inputs), ``compare`` and ``tolerances`` (the judgement), ``oracle`` (float64 tie-breaker), ``bisect``
(where it first goes wrong), ``certificate`` (the proof as a file), ``check`` (the entry point).
"""
