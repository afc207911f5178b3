"""Matrix products and attention."""

from recast.ops._fact import Fact

FACTS = {
    "Gemm": Fact(
        "a[n,c] b[c,k] bias[k]? -> y[n,k]",
        "fixed",
        weights=((1, 1), (2, 0)),
        macs="y*c",
        note="transA, transB swap the axes of a and b",
    ),
    "MatMul": Fact(
        "a[*n,c] b[c,k] -> y[*n,k]", "dense", weights=((1, 1),), macs="y*c", note="b may have batch dims too"
    ),
    "Einsum": Fact("x[...]+ -> y[...]", "fixed"),
    "Attention": Fact(
        "q[n,*l,c] k[n,*p,c] v[n,*p,d] mask[...]? pastk[...]? pastv[...]? length[n]? "
        "-> y[n,*l,d] presentk[...]? presentv[...]? qk[...]?",
        "fixed",
        macs="q*p+y*p",
        note="heads split c and d into equal blocks",
    ),
    "RotaryEmbedding": Fact("x[n,*l,c] cos[...] sin[...] position[n,l]? -> y[n,*l,c]", "fixed"),
}
