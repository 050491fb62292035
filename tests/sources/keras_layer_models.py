"""A small model with each public layer class of Keras, by the name of the class, with variants after a ``/``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

IMAGE, SIGNAL, VOLUME, MOVIE = (9, 11, 4), (6, 5), (5, 6, 4, 2), (3, 6, 5, 2)
NOT_BUILT = {
    "FlaxLayer": "wraps a module of Flax", "JaxLayer": "wraps a function of JAX",
    "TFSMLayer": "wraps a SavedModel of TensorFlow", "TorchModuleWrapper": "wraps a module of torch, as a pickle",
    "InputLayer": "is in every model", "Layer": "is abstract", "Wrapper": "is abstract",
    "GRUCell": "is no layer of a model but part of `RNN`", "LSTMCell": "is part of `RNN`",
    "SimpleRNNCell": "is part of `RNN`",
}  # fmt: skip
"""Classes of which no model can be made with the torch backend, or none by itself."""


def models(keras: Any) -> dict[str, Callable[[], Any]]:
    L = keras.layers  # noqa: N806

    def chain(shape: tuple[int, ...], *layers: Any, dtype: str | None = None) -> Callable[[], Any]:
        def make() -> Any:
            x = inputs = keras.Input(shape, dtype=dtype)
            for layer in layers:
                x = layer()(x)
            return keras.Model(inputs, x)

        return make

    def joined(layer: Any, *shapes: tuple[int, ...], listed: bool = True, **kwargs: Any) -> Callable[[], Any]:
        def make() -> Any:
            inputs = [keras.Input(shape) for shape in shapes]
            return keras.Model(inputs, layer()(inputs, **kwargs) if listed else layer()(*inputs, **kwargs))

        return make

    def reversible(tied: bool) -> Callable[[], Any]:
        def make() -> Any:
            inputs, layer = keras.Input((4,), dtype="int32"), L.ReversibleEmbedding(9, 5, tie_weights=tied)
            return keras.Model(inputs, layer(L.Dense(5)(layer(inputs)), reverse=True))

        return make

    found: dict[str, Callable[[], Any]] = {}
    inputs_of_windows = {1: (12, 4), 2: IMAGE, 3: (5, 6, 7, 2)}
    for n, shape in inputs_of_windows.items():
        for kind in ("Average", "Max"):
            name = f"Adaptive{kind}Pooling{n}D"
            found[name] = chain(shape, lambda name=name: getattr(L, name)(3))
            name = f"{kind}Pooling{n}D"
            found[name] = chain(shape, lambda name=name: getattr(L, name)(2))
            found[f"{name}/same"] = chain(shape, lambda name=name: getattr(L, name)(3, 2, padding="same"))
            name = f"Global{kind}Pooling{n}D"
            found[name] = chain(shape, lambda name=name: getattr(L, name)())
        for name in (f"Conv{n}D", f"Conv{n}DTranspose"):
            found[name] = chain(shape, lambda name=name: getattr(L, name)(4, 3, padding="same"))
            found[f"{name}/strided"] = chain(shape, lambda name=name: getattr(L, name)(4, 3, strides=2, use_bias=False))
        found[f"ZeroPadding{n}D"] = chain(shape, lambda n=n: getattr(L, f"ZeroPadding{n}D")(2))
        found[f"Cropping{n}D"] = chain(shape, lambda n=n: getattr(L, f"Cropping{n}D")(1))
        found[f"UpSampling{n}D"] = chain(shape, lambda n=n: getattr(L, f"UpSampling{n}D")(2))
        found[f"SpatialDropout{n}D"] = chain(shape, lambda n=n: getattr(L, f"SpatialDropout{n}D")(0.2))
        movie = (4, *shape)
        found[f"ConvLSTM{n}D"] = chain(movie, lambda n=n: getattr(L, f"ConvLSTM{n}D")(3, 3))
        found[f"ConvLSTM{n}D/all"] = chain(
            movie, lambda n=n: getattr(L, f"ConvLSTM{n}D")(3, 2, strides=2, padding="same", return_sequences=True)
        )
        if n < 3:
            for name in (f"DepthwiseConv{n}D", f"SeparableConv{n}D"):
                given = (6, 3) if name.startswith("S") else (3,)
                found[name] = chain(shape, lambda name=name, given=given: getattr(L, name)(*given, depth_multiplier=2))
    for name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract", "Concatenate"):
        found[name] = joined(lambda name=name: getattr(L, name)(), IMAGE, IMAGE)
    for name in (
        "ReLU", "ELU", "LeakyReLU", "PReLU", "Softmax", "Identity", "Flatten", "ActivityRegularization",
        "BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization", "Masking",
    ):  # fmt: skip
        found[name] = chain(IMAGE if name != "Masking" else SIGNAL, lambda name=name: getattr(L, name)())
    rates = ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise")
    for name in rates:
        found[name] = chain(IMAGE, lambda name=name: getattr(L, name)(0.2))
    rgb = (12, 10, 3)
    random: dict[str, Any] = {
        "AugMix": {}, "AutoContrast": {}, "CutMix": {}, "Equalization": {}, "MixUp": {}, "RandAugment": {},
        "RandomBrightness": {"factor": 0.2}, "RandomColorDegeneration": {"factor": 0.2},
        "RandomColorJitter": {"brightness_factor": 0.2}, "RandomContrast": {"factor": 0.2},
        "RandomElasticTransform": {}, "RandomErasing": {}, "RandomFlip": {},
        "RandomGaussianBlur": {}, "RandomGrayscale": {},
        "RandomHue": {"factor": 0.2}, "RandomInvert": {}, "RandomPerspective": {},
        "RandomPosterization": {"factor": 4}, "RandomRotation": {"factor": 0.2}, "RandomSaturation": {"factor": 0.2},
        "RandomSharpness": {"factor": 0.2}, "RandomShear": {"x_factor": 0.2}, "RandomTranslation": {
            "height_factor": 0.2, "width_factor": 0.2},
        "RandomZoom": {"height_factor": 0.2}, "RandomCrop": {"height": 8, "width": 6},
        "Solarization": {"threshold_factor": 0.5}, "CenterCrop": {"height": 8, "width": 7},
        "ContrastLimitedAdaptiveHistogramEqualization": {}, "Resizing": {"height": 5, "width": 7},
    }  # fmt: skip
    for name, args in random.items():
        ranged = {"value_range": (0, 1)} if name in (
            "AutoContrast", "Equalization", "RandomHue", "RandomInvert", "RandomPosterization", "RandomSaturation",
            "RandomSharpness", "RandomGaussianBlur", "RandomColorDegeneration", "Solarization", "RandomColorJitter",
            "RandomContrast", "AugMix", "RandAugment",
        ) else {}  # fmt: skip
        found[name] = chain(rgb, lambda name=name, args=args | ranged: getattr(L, name)(**args))
    for interpolation in ("nearest", "bicubic", "area", "lanczos3"):
        found[f"Resizing/{interpolation}"] = chain(rgb, lambda i=interpolation: L.Resizing(5, 7, interpolation=i))
    found["Resizing/antialias"] = chain(rgb, lambda: L.Resizing(5, 7, antialias=True))
    for key in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        found[f"Resizing/{key}"] = chain(rgb, lambda key=key: L.Resizing(5, 7, **{key: True}))
    for name in ("LSTM", "GRU", "SimpleRNN"):
        recurrent = getattr(L, name)
        cell = getattr(L, f"{name}Cell")
        found[name] = chain(SIGNAL, lambda r=recurrent: r(4))
        found[f"{name}/backwards"] = chain(SIGNAL, lambda r=recurrent: r(4, go_backwards=True, return_sequences=True))
        found[f"{name}/relu"] = chain(SIGNAL, lambda r=recurrent: r(4, activation="relu", return_sequences=True))
        found[f"{name}/both"] = chain(SIGNAL, lambda r=recurrent: L.Bidirectional(r(3, return_sequences=True)))
        found[f"RNN/{name}Cell"] = chain(SIGNAL, lambda c=cell: L.RNN(c(4), return_sequences=True))
        found[f"StackedRNNCells/{name}"] = chain(SIGNAL, lambda c=cell: L.RNN([c(4), c(3)]))
        found[f"TimeDistributed/{name}"] = chain((3, *SIGNAL), lambda r=recurrent: L.TimeDistributed(r(4)))
    found |= {
        "Activation": chain(IMAGE, lambda: L.Activation("gelu")),
        "AdditiveAttention": joined(lambda: L.AdditiveAttention(), (4, 6), (5, 6)),
        "AdditiveAttention/unscaled": joined(lambda: L.AdditiveAttention(use_scale=False), (4, 6), (5, 6), (5, 6)),
        "Attention": joined(lambda: L.Attention(), (4, 6), (5, 6)),
        "Attention/scaled": joined(lambda: L.Attention(use_scale=True), (4, 6), (5, 3), (5, 6)),
        "Attention/concat": joined(lambda: L.Attention(score_mode="concat"), (4, 6), (5, 6)),
        "Attention/causal": joined(lambda: L.Attention(), (4, 6), (5, 6), use_causal_mask=True),
        "Bidirectional": chain(SIGNAL, lambda: L.Bidirectional(L.LSTM(3))),
        "Bidirectional/ConvLSTM2D": chain(
            MOVIE, lambda: L.Bidirectional(L.ConvLSTM2D(3, 3, padding="same", return_sequences=True))
        ),
        "Bidirectional/other": chain(
            SIGNAL, lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.GRU(4, go_backwards=True))
        ),
        "BatchNormalization/first": chain((4, 6, 5), lambda: L.BatchNormalization(axis=1)),
        "CategoryEncoding": chain((3,), lambda: L.CategoryEncoding(9, output_mode="multi_hot"), dtype="int32"),
        "CategoryEncoding/one_hot": chain((1,), lambda: L.CategoryEncoding(9, output_mode="one_hot"), dtype="int32"),
        "CategoryEncoding/count": chain((3,), lambda: L.CategoryEncoding(9, output_mode="count"), dtype="int32"),
        "Dense": chain((7,), lambda: L.Dense(5, "softmax")),
        "Dense/map": chain(IMAGE, lambda: L.Dense(5)),
        "Discretization": chain(IMAGE, lambda: L.Discretization(bin_boundaries=[-0.5, 0.0, 0.7])),
        "Discretization/one_hot": chain((1,), lambda: L.Discretization([-0.5, 0.7], output_mode="one_hot")),
        "Dot": joined(lambda: L.Dot(axes=1), (6,), (6,)),
        "Dot/normal": joined(lambda: L.Dot(axes=2, normalize=True), (4, 6), (5, 6)),
        "Dot/mixed": joined(lambda: L.Dot(axes=(1, 2)), (6, 4), (5, 6)),
        "EinsumDense": chain((4, 6), lambda: L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", activation="relu")),
        "EinsumDense/heads": chain((4, 6), lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")),
        "EinsumDense/positions": chain((4, 6), lambda: L.EinsumDense("abc,bd->adc", (5, None))),
        "EinsumDense/each": chain((4, 6), lambda: L.EinsumDense("abc,bcd->abd", (4, 5), bias_axes="bd")),
        "EinsumDense/rest": chain((4, 3, 6), lambda: L.EinsumDense("...x,xy->...y", 5, bias_axes="y")),
        "Embedding": chain((4,), lambda: L.Embedding(9, 5), dtype="int32"),
        "Embedding/masked": chain(
            (4,), lambda: L.Embedding(9, 5, mask_zero=True), lambda: L.Dense(3), lambda: L.Flatten(), dtype="int32"
        ),
        "GroupNormalization": chain(IMAGE, lambda: L.GroupNormalization(2)),
        "GroupQueryAttention": joined(lambda: L.GroupQueryAttention(4, 4, 2), (5, 6), (5, 6), listed=False),
        "HashedCrossing": joined(lambda: L.HashedCrossing(9), (1,), (1,)),
        "Hashing": chain((3,), lambda: L.Hashing(9), dtype="int32"),
        "IntegerLookup": chain((3,), lambda: L.IntegerLookup(vocabulary=[2, 4, 6]), dtype="int32"),
        "Lambda": chain(IMAGE, lambda: L.Lambda(lambda x: x * 2)),
        "LayerNormalization/axes": chain(IMAGE, lambda: L.LayerNormalization(axis=[1, 2])),
        "MaxNumBoundingBoxes": chain(IMAGE, lambda: L.MaxNumBoundingBoxes(3)),
        "MelSpectrogram": chain((800,), lambda: L.MelSpectrogram(fft_length=64, num_mel_bins=8)),
        "MultiHeadAttention": joined(lambda: L.MultiHeadAttention(3, 4), (5, 6), (7, 6), listed=False),
        "MultiHeadAttention/value": joined(
            lambda: L.MultiHeadAttention(2, 3, value_dim=5, output_shape=7), (5, 6), (7, 4), listed=False
        ),
        "MultiHeadAttention/scores": joined(
            lambda: L.MultiHeadAttention(2, 3), (5, 6), (7, 6), listed=False, return_attention_scores=True
        ),
        "MultiHeadAttention/causal": joined(
            lambda: L.MultiHeadAttention(2, 3), (5, 6), (5, 6), listed=False, use_causal_mask=True
        ),
        "MultiHeadAttention/image": joined(
            lambda: L.MultiHeadAttention(2, 3, attention_axes=(1, 2)), (4, 3, 6), (4, 3, 6), listed=False
        ),
        "Normalization": chain(IMAGE, lambda: L.Normalization()),
        "Normalization/known": chain(IMAGE, lambda: L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4])),
        "Normalization/all": chain(IMAGE, lambda: L.Normalization(axis=None)),
        "Normalization/axes": chain(IMAGE, lambda: L.Normalization(axis=(1, 3))),
        "Normalization/inverted": chain(IMAGE, lambda: L.Normalization(invert=True)),
        "Normalization/inverse": chain(
            IMAGE, lambda: L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4], invert=True)
        ),
        "PReLU/shared": chain(IMAGE, lambda: L.PReLU(shared_axes=[1, 2])),
        "Permute": chain(IMAGE, lambda: L.Permute((3, 1, 2))),
        "Pipeline": chain(rgb, lambda: L.Pipeline([L.RandomFlip(), L.Rescaling(2.0), L.Resizing(5, 4)])),
        "RMSNormalization/axis": chain(IMAGE, lambda: L.RMSNormalization(axis=1)),
        "ReLU/odd": chain(IMAGE, lambda: L.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.5)),
        "RepeatVector": chain((7,), lambda: L.RepeatVector(3)),
        "Rescaling": chain(IMAGE, lambda: L.Rescaling(0.5, offset=-1.0)),
        "Reshape": chain(IMAGE, lambda: L.Reshape((11, -1))),
        "ReversibleEmbedding/both": reversible(True), "ReversibleEmbedding/untied": reversible(False),
        "ReversibleEmbedding": chain((4,), lambda: L.ReversibleEmbedding(9, 5), dtype="int32"),
        "STFTSpectrogram": chain((200, 1), lambda: L.STFTSpectrogram(frame_length=32, frame_step=16, fft_length=32)),
        "Softmax/axes": chain(IMAGE, lambda: L.Softmax(axis=(1, 2))),
        "SpectralNormalization": chain(IMAGE, lambda: L.SpectralNormalization(L.Conv2D(4, 3))),
        "SpectralNormalization/dense": chain((7,), lambda: L.SpectralNormalization(L.Dense(4))),
        "StringLookup": chain((3,), lambda: L.StringLookup(vocabulary=["a", "b"]), dtype="string"),
        "TextVectorization": chain((1,), lambda: L.TextVectorization(vocabulary=["a", "b"]), dtype="string"),
        "TimeDistributed": chain((3, *IMAGE), lambda: L.TimeDistributed(L.Conv2D(4, 3, strides=2, padding="same"))),
        "TimeDistributed/Dense": chain((3, 5), lambda: L.TimeDistributed(L.Dense(4, "relu"))),
        "TimeDistributed/model": chain((3, *IMAGE), lambda: L.TimeDistributed(keras.Sequential([
            keras.Input(IMAGE), L.Conv2D(4, 3), L.BatchNormalization(), L.GlobalAveragePooling2D(), L.Dense(3)]))),
        "TimeDistributed/pool": chain((3, *IMAGE), lambda: L.TimeDistributed(L.MaxPooling2D())),
        "TimeDistributed/Flatten": chain((3, *IMAGE), lambda: L.TimeDistributed(L.Flatten()), lambda: L.LSTM(3)),
        "TimeDistributed/norm": chain((3, *IMAGE), lambda: L.TimeDistributed(L.BatchNormalization())),
        "UnitNormalization/axes": chain(IMAGE, lambda: L.UnitNormalization(axis=(1, 2))),
        "UpSampling2D/bilinear": chain(IMAGE, lambda: L.UpSampling2D(2, interpolation="bilinear")),
        "ConvLSTM2D/state": chain(MOVIE, lambda: L.ConvLSTM2D(3, 3, dilation_rate=2, padding="same", use_bias=False)),
    }  # fmt: skip
    return found


def classes(keras: Any) -> dict[str, str]:
    """Every public layer class by its names in `keras.layers`; aliases have the name of the class itself."""
    layers = {name: thing for name, thing in vars(keras.layers).items() if isinstance(thing, type)}
    return {name: thing.__name__ for name, thing in layers.items() if issubclass(thing, keras.Layer)}
