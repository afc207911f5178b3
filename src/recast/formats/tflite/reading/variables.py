"""Variables that never change after they are set up: they become constants."""

from __future__ import annotations

from recast.errors import UnsupportedOp
from recast.formats.tflite.read_call import Call
from recast.formats.tflite.read_file import Operator, Subgraph
from recast.formats.tflite.reading import reads

_CHANGES = frozenset(("ASSIGN_VARIABLE", "HASHTABLE_IMPORT"))


@reads("CALL_ONCE")
def call_once(c: Call) -> None:
    """Setting up: READ_VARIABLE looks into the subgraph itself. Only constant assignments are understood."""
    graph = _setup(c, c.operator)
    for operator in graph.operators:
        if operator.kind not in ("VAR_HANDLE", "ASSIGN_VARIABLE"):
            raise UnsupportedOp(f"variables are set up with {operator.kind}")


@reads("VAR_HANDLE")
def var_handle(c: Call) -> None:
    """A name; nothing to compute."""
    c.output(0)


@reads("READ_VARIABLE")
def read_variable(c: Call) -> None:
    """The value that CALL_ONCE assigned, if nothing else assigns."""
    graph = c.scope.graph
    name = _variable(c, graph, c.index(0))
    setups = [_setup(c, o) for o in graph.operators if o.kind == "CALL_ONCE"]
    changing = [g for g in c.scope.reading.file.subgraphs if not any(g is s for s in setups)]
    if any(o.kind in _CHANGES for g in changing for o in g.operators):
        raise UnsupportedOp("the model changes its variables while it runs")
    found = [
        (setup, o.inputs[1])
        for setup in setups
        for o in setup.operators
        if o.kind == "ASSIGN_VARIABLE" and len(o.inputs) == 2 and _variable(c, setup, o.inputs[0]) == name
    ]
    if len(found) != 1:
        raise UnsupportedOp(f"variable '{name}' is set {len(found)} times")
    setup, source = found[0]
    held = setup.tensors[source]
    if held.data is None or held.is_quantised:
        raise UnsupportedOp(f"variable '{name}' does not start as a plain constant")
    c.out_raw(c.b.op("Identity", [c.b.weight(f"{c.path}/variable", held.data)]))


def _setup(c: Call, operator: Operator) -> Subgraph:
    number = int(operator.option("init_subgraph_index") or 0)
    graphs = c.scope.reading.file.subgraphs
    if not 0 < number < len(graphs):
        raise c.bad(f"subgraph {number} does not exist")
    return graphs[number]


def _variable(c: Call, graph: Subgraph, index: int) -> str:
    """The shared name of the handle in a tensor."""
    for operator in graph.operators:
        if operator.kind == "VAR_HANDLE" and operator.outputs[:1] == (index,):
            return f"{operator.option('container') or ''}/{operator.option('shared_name') or ''}"
    raise UnsupportedOp("a variable that is not named in its own subgraph")
