"""Parts of a report: one module each, found by folder (see ``document``)."""
