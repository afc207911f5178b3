"""Search for the best recipe under a budget.

``search``   the map: propose → try → time → record → deliver the best so far
``space``    which recipes there are
``sampling`` what to try next, from what is known
``trial``    what one trial gave, and how it is judged
``engines``  where trials run: child processes here, or a Ray cluster; ``worker`` is their other side
``store``    the search as a file that survives being killed
``outcome``  the best, the Pareto front, the report
"""
