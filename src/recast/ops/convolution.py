"""Convolutions."""

from recast.ops._fact import Fact

FACTS = {
    "Conv": Fact(
        "x[n,c,*s] w[k,c,*z] b[k]? -> y[n,k,*t]",
        "image",
        weights=((1, 0), (2, 0)),
        macs="y*c*z/group",
        note="group splits c and k into equal blocks; w has c/group",
    ),
    "ConvTranspose": Fact(
        "x[n,c,*s] w[c,k,*z] b[k]? -> y[n,k,*t]",
        "image",
        weights=((1, 1), (2, 0)),
        macs="x*k*z/group",
        note="group splits c and k into equal blocks; w has k/group",
    ),
    "DeformConv": Fact(
        "x[n,c,*s] w[k,c,*z] offset[n,o,*t] b[k]? mask[n,m,*t]? -> y[n,k,*t]",
        "image",
        weights=((1, 0), (3, 0)),
        macs="y*c*z/group",
    ),
}
