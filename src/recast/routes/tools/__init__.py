"""One third-party converter a file: facts as constants, and ``convert(job)``, which runs in the tool's interpreter.

``TITLE`` what it is; ``TOOL`` the distribution whose version the certificate names; ``PACKAGES`` pinned requirements of
``recast routes --install``; ``NEEDS`` modules that must be importable; ``EDGES`` pairs (kind of source, target format);
``OPTIONS`` what it honours of ``opset`` and ``inputs``; ``TARGETS`` suffixes, where it writes not all of a format;
``OPSET`` of the ONNX files that it takes, if it does not take the newest (Recast then writes them anew first).

The file must be importable without Recast: its functions import what they need, and ``Job`` is named for types only.
"""
