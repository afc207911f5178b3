"""``python -m recast``."""

from recast.cli import main

main()
