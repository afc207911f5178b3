"""Edit the graph as the plan says: every value in its chosen form, Transposes only where forms differ."""

from __future__ import annotations

import onnx_ir as ir

from recast.graph import CHANNELS_LAST_DOMAIN, LAYER, ORIGIN, PERM
from recast.graph.view import is_const
from recast.passes.layout_cut import B
from recast.passes.layout_edit import Constants, edit
from recast.passes.layout_groups import Groups, new_target
from recast.passes.layout_plan import Plan, Site, operand, slots_of, transpose_perm
from recast.passes.layout_rules import Axes, Perm, compose, inverse, is_identity


class Rewriter:
    """One run over the nodes in order. ``forms[v] = (b, p)``: the old ``v`` is ``transpose(b, p)``."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.graph = plan, plan.graph
        self.forms: dict[ir.Value, tuple[ir.Value, Perm]] = {}
        self.constants = Constants(plan.graph)
        self.transposes = 0
        self._made: dict[tuple[ir.Value, Perm], ir.Value] = {}
        self._dead: list[ir.Node] = []

    def run(self) -> list[ir.Value]:
        """Rewrite all nodes, inputs and outputs; returns the graph inputs and outputs whose axes moved."""
        moved = [v for v in self.graph.inputs if self._permute_input(v)]
        for site in list(self.plan.sites.values()):
            node = site.node
            if node.op_type == "Transpose" and node.domain == "":
                self._drop(node)
            elif site.forms:
                self._fixed(site)
            elif isinstance(site.rule, Groups):
                self._reshape(site, site.rule)
            elif node.op_type == "Shape" and node.domain == "":
                self._shape(node)
            elif isinstance(site.rule, Axes) and self.plan.is_alt(site):
                self._reorder(site, site.rule)
            else:
                self._plain(node)
        moved += self._outputs()
        for node in reversed(self._dead):
            self.graph.remove(node, safe=True)
        self.constants.drop_unused()
        return moved

    # -- values -----------------------------------------------------------------------------------------------------

    def form(self, value: ir.Value) -> tuple[ir.Value, Perm]:
        """What the old value is made of now."""
        return self.forms.get(value) or (value, tuple(range(len(value.shape or ()))))

    def fetch(self, value: ir.Value, perm: Perm | None, before: ir.Node | None) -> ir.Value:
        """``transpose(old value, perm)`` as it is now, through a shared Transpose if there must be one."""
        if value not in self.forms and (perm is None or is_identity(perm)):
            return value
        base, own = self.form(value)
        total = own if perm is None else compose(own, perm)
        if is_identity(total):
            return base
        if (base, total) in self._made:
            return self._made[base, total]
        made = self.constants.transposed(base, total) if is_const(base) else self._transpose(base, total, before)
        self._made[base, total] = made
        return made

    def _transpose(self, base: ir.Value, perm: Perm, before: ir.Node | None) -> ir.Value:
        name = self.constants.unique(f"{base.name}_transposed")
        node = ir.node("Transpose", [base], {"perm": list(perm)}, name=self.constants.unique(f"{base.name}/Transpose"))
        neighbour = base.producer() or before
        for key in (LAYER, ORIGIN):
            if neighbour is not None and key in neighbour.metadata_props:
                node.metadata_props[key] = neighbour.metadata_props[key]
        made = node.outputs[0]
        made.name, made.type, made.shape = name, base.type, permuted_shape(base, perm)
        if before is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(before, node)
        self.transposes += 1
        return made

    def _feed(self, node: ir.Node, slot: int, perm: Perm | None) -> None:
        value = node.inputs[slot]
        if value is not None:
            fresh = self.fetch(value, perm, node)
            if fresh is not value:
                node.replace_input_with(slot, fresh)

    def _result(self, value: ir.Value, perm: Perm) -> None:
        """The node now yields ``transpose(old value, perm)``."""
        if not is_identity(perm):
            self.forms[value] = (value, inverse(perm))
            if value.shape is not None:
                value.shape = permuted_shape(value, perm)

    # -- nodes ------------------------------------------------------------------------------------------------------

    def _drop(self, node: ir.Node) -> None:
        source, perm = node.inputs[0], transpose_perm(node)
        if source is not None and perm:
            base, own = self.forms.get(source) or (source, tuple(range(len(perm))))
            self.forms[node.outputs[0]] = (base, compose(own, perm))
            self._dead.append(node)
        else:
            self._plain(node)

    def _plain(self, node: ir.Node) -> None:
        for slot in range(len(node.inputs)):
            self._feed(node, slot, None)
        for inner in _inner_nodes(node):
            for slot, value in enumerate(inner.inputs):
                if value is not None and value in self.forms:
                    inner.replace_input_with(slot, self.fetch(value, None, node))
        for graph in _inner_graphs(node):
            for index, value in enumerate(graph.outputs):
                if value in self.forms:
                    graph.outputs[index] = self.fetch(value, None, node)

    def _fixed(self, site: Site) -> None:
        node, alt = site.node, self.plan.is_alt(site)
        for slot in range(len(node.inputs)):
            self._feed(node, slot, site.forms.get(slot) if alt else None)
        if site.time:
            if alt:
                node.attributes["layout"] = ir.AttrInt64("layout", int(self.plan.state(site.var) == B))
        elif alt:
            node.domain = CHANNELS_LAST_DOMAIN if self.plan.state(site.var) == B else ""
        if alt:
            for slot, perm in site.forms.items():
                if slot < 0:
                    self._result(node.outputs[~slot], perm)

    def _reorder(self, site: Site, rule: Axes) -> None:
        node, order = site.node, site.order or ()
        for slot in slots_of(node):
            value = operand(node, slot)
            if slot < 0 or value is None:
                continue
            letters = rule.letters(slot)
            if letters is None:
                self._feed(node, slot, None)
            elif rule.broadcast and letters and len(letters) < rule.size and rule.perm(slot, order) is None:
                base = self.fetch(value, None, node)
                fresh = self.constants.aligned(base, rule, slot, order, node)
                node.replace_input_with(slot, fresh)
            else:
                self._feed(node, slot, rule.perm(slot, order))
        edit(node, rule, order, self.constants)
        for index, result in enumerate(node.outputs):
            perm = rule.perm(~index, order)
            if perm is not None:
                self._result(result, perm)

    def _reshape(self, site: Site, rule: Groups) -> None:
        node = site.node
        source, result = node.inputs[0], node.outputs[0]
        if source is None:
            return
        identity = tuple(range(rule.ranks[0]))
        perm, out = identity, tuple(range(rule.ranks[1]))
        if site.ties:
            if self.plan.is_alt(site):
                perm, out = site.ties[0], site.ties[~0]
        else:
            orient = self.plan.orient.get(source)
            _, own = self.form(source)
            order = rule.order(0, orient.perm) if orient else None
            free = order is not None and order == tuple(range(len(order)))
            if (
                orient
                and inverse(own) == orient.perm
                and (node in self.plan.folds or (free and node in self.plan.free))
            ):
                perm = orient.perm
            turned = self.plan.orient.get(result)
            label = self.plan.producer.get(result)
            if turned and label is not None and self.plan.state(label) == turned.alt:
                out = turned.perm
        self._feed(node, 0, perm)
        if node in self.plan.folds and perm != identity:
            fold = self.plan.folds[node]
            for user, index, axis in fold.sites:
                value = user.inputs[index]
                if value is not None:
                    user.replace_input_with(index, self.constants.taken(value, fold, axis))
        if node.op_type == "Reshape":
            self._feed(node, 1, None)
            if perm != identity or not is_identity(out):
                target = new_target(node, rule, perm, out)
                if target is not None:
                    node.replace_input_with(1, self.constants.const(target, "shape"))
        self._result(result, out)

    def _shape(self, node: ir.Node) -> None:
        """The shape of a permuted tensor, put back in the graph's own order."""
        value = node.inputs[0]
        if value is None or value not in self.forms:
            return
        base, own = self.forms[value]
        if is_const(base) or is_identity(own):
            self._feed(node, 0, None)
            return
        start, end = (int(node.attributes[k].value) if k in node.attributes else None for k in ("start", "end"))
        picks = list(own)[start:end]
        shape = node.outputs[0].shape
        whole = ir.node("Shape", [base], name=self.constants.unique(f"{node.name}/whole"))
        whole.outputs[0].name = self.constants.unique(f"{node.name}_whole")
        whole.outputs[0].dtype, whole.outputs[0].shape = ir.DataType.INT64, ir.Shape([len(own)])
        gather = ir.node("Gather", [whole.outputs[0], self.constants.const(picks, "order")], {"axis": 0})
        gather.name = self.constants.unique(f"{node.name}/Gather")
        gather.metadata_props.update(node.metadata_props)
        whole.metadata_props.update(node.metadata_props)
        result = gather.outputs[0]
        result.name, result.dtype, result.shape = node.outputs[0].name, ir.DataType.INT64, shape
        node.outputs[0].name = self.constants.unique(f"{result.name}_old")
        self.graph.insert_before(node, [whole, gather])
        ir.convenience.replace_all_uses_with(node.outputs[0], result, replace_graph_outputs=True)
        self._dead.append(node)

    # -- borders ----------------------------------------------------------------------------------------------------

    def _permute_input(self, value: ir.Value) -> bool:
        orient = self.plan.orient.get(value)
        if orient is None or self.plan.state(self.plan.producer[value]) != orient.alt:
            return False
        self._result(value, orient.perm)
        _note(value, orient.perm)
        return True

    def _outputs(self) -> list[ir.Value]:
        moved = []
        wish = self.plan.options.io_layout
        for index, value in enumerate(self.graph.outputs):
            orient = self.plan.orient.get(value)
            perm = None
            if orient is not None and wish != "keep" and not orient.time:
                _, own = self.form(value)
                auto = inverse(own) == orient.perm
                if auto if wish == "auto" else orient.alt == (B if wish == "nhwc" else 1 - B):
                    perm = orient.perm
            fresh = self._named(value, self.fetch(value, perm, None), index)
            if perm is not None:
                _note(fresh, perm, value)
                moved.append(fresh)
        return moved

    def _named(self, old: ir.Value, fresh: ir.Value, index: int) -> ir.Value:
        """Make ``fresh`` the output in place of ``old``, under the old name."""
        if fresh is old:
            return old
        taken = fresh.producer() is None or any(v is fresh for v in self.graph.outputs) or fresh.graph is not self.graph
        if taken:
            node = ir.node("Identity", [fresh], name=self.constants.unique(f"{old.name}/Identity"))
            node.outputs[0].type, node.outputs[0].shape = fresh.type, fresh.shape
            self.graph.append(node)
            fresh = node.outputs[0]
        name, old.name = old.name, self.constants.unique(f"{old.name}_inner")
        fresh.name = name
        self.graph.outputs[index] = fresh
        return fresh


def permuted_shape(value: ir.Value, perm: Perm) -> ir.Shape | None:
    """The shape after a Transpose."""
    return None if value.shape is None else ir.Shape([value.shape[p] for p in perm])


def _note(value: ir.Value, perm: Perm, old: ir.Value | None = None) -> None:
    before = (old or value).metadata_props.get(PERM)
    if before:
        perm = compose(tuple(int(p) for p in before.split(",")), perm)
    value.metadata_props[PERM] = ",".join(map(str, perm))
    if is_identity(perm):
        del value.metadata_props[PERM]


def _inner_graphs(node: ir.Node) -> list[ir.Graph]:
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def _inner_nodes(node: ir.Node) -> list[ir.Node]:
    found = []
    for graph in _inner_graphs(node):
        for inner in graph:
            found += [inner, *_inner_nodes(inner)]
    return found
