"""Pooling, normalisation over channels, and other operators on (n, c, *spatial)."""

from recast.ops._fact import Fact

_POOL = Fact("x[n,c,*s] -> y[n,c,*t]", "image")

FACTS = {
    "MaxPool": Fact("x[n,c,*s] -> y[n,c,*t] indices[n,c,*t]?", "image", note="indices count in the order of axes"),
    **dict.fromkeys(("AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "LRN"), _POOL),
    "BatchNormalization": Fact(
        "x[n,c,*s] scale[c] b[c] mean[c] var[c] -> y[n,c,*s]",
        "image",
        weights=((1, 0), (2, 0), (3, 0), (4, 0)),
        macs="y",
    ),
    "InstanceNormalization": Fact("x[n,c,*s] scale[c] b[c] -> y[n,c,*s]", "image", weights=((1, 0), (2, 0)), macs="y"),
    "GroupNormalization": Fact(
        "x[n,c,*s] scale[c] b[c] -> y[n,c,*s]",
        "image",
        weights=((1, 0), (2, 0)),
        macs="y",
        note="num_groups splits c into equal blocks",
    ),
    "DepthToSpace": Fact("x[n,c,*s] -> y[n,k,*t]", "image", note="k = c / blocksize²; order by mode"),
    "SpaceToDepth": Fact("x[n,c,*s] -> y[n,k,*t]", "image", note="k = c * blocksize²"),
    "GridSample": Fact("x[n,c,*s] grid[m,*t,d] -> y[n,c,*t]", "image"),
    "RoiAlign": Fact("x[n,c,*s] rois[r,q] batch[r] -> y[n,c,*t]", "image", note="y's first dim is r"),
    "Resize": Fact(
        "x[n,c,*s] roi[...]? scales[...]? sizes[...]? -> y[n,c,*t]",
        "resize",
        note="by axes: no dim has a fixed place",
    ),
}
