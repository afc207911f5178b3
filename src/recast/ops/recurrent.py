"""Recurrent layers: time-major (``layout=0``) as stated here."""

from recast.ops._fact import Fact

_STATE = "x[t,n,c] w[d,g,c] r[d,g,h] b[d,b]? length[n]? h0[d,n,h]?"

FACTS = {
    "LSTM": Fact(
        f"{_STATE} c0[d,n,h]? p[d,q]? -> y[t,d,n,h] yh[d,n,h]? yc[d,n,h]?",
        "recurrent",
        weights=((1, 1), (2, 1), (3, 1), (7, 1)),
        macs="t*n*w+t*n*r",
        note="g = 4h in the order i o f c",
    ),
    "GRU": Fact(
        f"{_STATE} -> y[t,d,n,h] yh[d,n,h]?",
        "recurrent",
        weights=((1, 1), (2, 1), (3, 1)),
        macs="t*n*w+t*n*r",
        note="g = 3h in the order z r h",
    ),
    "RNN": Fact(
        f"{_STATE} -> y[t,d,n,h] yh[d,n,h]?",
        "recurrent",
        weights=((1, 1), (2, 1), (3, 1)),
        macs="t*n*w+t*n*r",
        note="g = h",
    ),
}
