"""Which steps of a sequence count: the masks that Keras carries beside tensors, from `Masking` and `Embedding` on.

The graph has no masks. A layer that reads one has the right shapes and costs, but does not compute the same: its ops
say that they lost their operand ``mask``. Source: ``supports_masking`` and ``compute_mask`` in `keras.src.layers`.
"""

from __future__ import annotations

import re

from cnnscope.sources.keras.rules import Settings

_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"})
_WRAPPERS = frozenset({"Bidirectional", "TimeDistributed"})
_ATTENTION = frozenset({"Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"})
READERS = _RECURRENT | _WRAPPERS | _ATTENTION | {"GlobalAveragePooling1D", "GlobalAvgPool1D", "Softmax"}
"""Classes whose numbers depend on the mask of an input. Batch normalisation's do in training only."""
_ENDS = frozenset({"Dot", "Flatten", "Reshape", "Permute", "RepeatVector", "RMSNormalization"})
_WINDOWS = re.compile("[123]D")


def makes_mask(s: Settings) -> bool:
    """Returns whether the output of a layer has a mask even if its input has none."""
    return s.layer.kind == "Masking" or (s.layer.kind == "Embedding" and s.flag("mask_zero", False))


def keeps_mask(s: Settings) -> bool:
    """Returns whether the output of a layer has a mask if an input has one: a sequence does, its last step does not.

    Functions and layers with windows have none. A layer that is not known here is taken to have one, which refuses too
    much at worst.
    """
    kind = s.layer.kind
    if s.layer.is_function:
        return False
    if kind == "Bidirectional":
        inner = s.layer.config.get("layer")
        config = inner.get("config") if isinstance(inner, dict) else None
        return not isinstance(config, dict) or config.get("return_sequences") is True
    if kind in _RECURRENT:
        return s.flag("return_sequences", False)
    windows = _WINDOWS.search(kind) is not None and not kind.startswith("SpatialDropout")
    return not windows and kind not in _ENDS
