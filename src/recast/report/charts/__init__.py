"""Pictures as SVG text, drawn by ourselves: no library, no fonts, no network."""
