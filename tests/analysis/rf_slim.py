"""TF-Slim's networks, spatially: one channel everywhere, nodes named after their end points.

From tensorflow/models research/slim/nets: alexnet, vgg, inception_v2 to v4, inception_resnet_v2, mobilenet_v1 and
resnet_v1 and v2. Padding is TensorFlow's SAME (the odd pixel at the end) or VALID: it depends on the input's size.
"""

from __future__ import annotations

from typing import Any

from rf_networks import Net

from cnnscope.ir import Graph

Op = tuple[str, Any, int, str]
"""Kind, kernel, stride, padding."""


def conv(kernel: Any, stride: int = 1, pad: str = "same") -> Op:
    return "conv", kernel, stride, pad


def pool(kernel: int = 3, stride: int = 2, pad: str = "valid", kind: str = "maxpool") -> Op:
    return kind, kernel, stride, pad


MEAN = pool(3, 1, "same", "avgpool")
WIDE, TALL = conv([1, 7]), conv([7, 1])


def apply(net: Net, op: Op, source: str, name: str | None = None) -> str:
    kind, kernel, stride, pad = op
    out = {"out": 1} if kind == "conv" else {}
    return net.add(kind, source, name=name, kernel=kernel, stride=stride, pad=pad, **out)


def mixed(net: Net, name: str | None, *branches: tuple[Any, ...]) -> str:
    """Branches of ops side by side, concatenated; an inner tuple of ops forks once more."""
    ends = []
    entry = net.last
    for branch in branches:
        tips = [entry]
        for op in branch:
            forks = op if isinstance(op[0], tuple) else (op,)
            tips = [apply(net, fork, tips[0]) for fork in forks]
        ends += tips
    return net.add("concat", *ends, name=name)


def line(net: Net, *layers: tuple[str, Op]) -> None:
    for name, op in layers:
        apply(net, op, net.last, name)


def alexnet_v2(size: int) -> Graph:
    net = Net(1, size, size)
    line(net, ("conv1", conv(11, 4, "valid")), ("pool1", pool()), ("conv2", conv(5)), ("pool2", pool()),
         ("conv3", conv(3)), ("conv4", conv(3)), ("conv5", conv(3)), ("pool5", pool()))  # fmt: skip
    return net.graph()


def vgg(size: int, *repeats: int) -> Graph:
    net = Net(1, size, size)
    for stage, repeat in enumerate(repeats, start=1):
        line(net, *((f"conv{stage}/conv{stage}_{i + 1}", conv(3)) for i in range(repeat)), (f"pool{stage}", pool(2)))
    return net.graph()


def inception_v2(size: int) -> Graph:
    net = Net(1, size, size)
    line(net, ("Conv2d_1a_7x7", conv(7, 2)), ("MaxPool_2a_3x3", pool(pad="same")), ("Conv2d_2b_1x1", conv(1)),
         ("Conv2d_2c_3x3", conv(3)), ("MaxPool_3a_3x3", pool(pad="same")))  # fmt: skip
    for name in ("3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b", "5c"):
        stride = 2 if name in ("4a", "5a") else 1
        branches = [(conv(1), conv(3, stride)), (conv(1), conv(3), conv(3, stride)),
                    (pool(3, stride, "same", "maxpool" if stride == 2 else "avgpool"),)]  # fmt: skip
        mixed(net, f"Mixed_{name}", *branches)
    return net.graph()


def stem(net: Net, pad: str) -> None:
    line(net, ("Conv2d_1a_3x3", conv(3, 2, pad)), ("Conv2d_2a_3x3", conv(3, 1, pad)), ("Conv2d_2b_3x3", conv(3)))


def inception_v3(size: int) -> Graph:
    net = Net(1, size, size)
    stem(net, "valid")
    line(net, ("MaxPool_3a_3x3", pool()), ("Conv2d_3b_1x1", conv(1)), ("Conv2d_4a_3x3", conv(3, 1, "valid")),
         ("MaxPool_5a_3x3", pool()))  # fmt: skip
    for name in ("5b", "5c", "5d"):
        mixed(net, f"Mixed_{name}", (conv(1),), (conv(1), conv(5)), (conv(1), conv(3), conv(3)), (MEAN, conv(1)))
    mixed(net, "Mixed_6a", (conv(3, 2, "valid"),), (conv(1), conv(3), conv(3, 2, "valid")), (pool(),))
    for name in ("6b", "6c", "6d", "6e"):
        mixed(net, f"Mixed_{name}", (conv(1),), (conv(1), WIDE, TALL), (conv(1), TALL, WIDE, TALL, WIDE), (MEAN,))
    mixed(net, "Mixed_7a", (conv(1), conv(3, 2, "valid")), (conv(1), WIDE, TALL, conv(3, 2, "valid")), (pool(),))
    fork = (conv([1, 3]), conv([3, 1]))
    for name in ("7b", "7c"):
        mixed(net, f"Mixed_{name}", (conv(1),), (conv(1), fork), (conv(1), conv(3), fork), (MEAN, conv(1)))
    return net.graph()


def inception_v4(size: int) -> Graph:
    net, valid = Net(1, size, size), conv(3, 1, "valid")
    stem(net, "valid")
    mixed(net, "Mixed_3a", (pool(),), (conv(3, 2, "valid"),))
    mixed(net, "Mixed_4a", (conv(1), valid), (conv(1), WIDE, TALL, valid))
    mixed(net, "Mixed_5a", (conv(3, 2, "valid"),), (pool(),))
    for name in "bcde":
        mixed(net, f"Mixed_5{name}", (conv(1),), (conv(1), conv(3)), (conv(1), conv(3), conv(3)), (MEAN, conv(1)))
    mixed(net, "Mixed_6a", (conv(3, 2, "valid"),), (conv(1), conv(3), conv(3, 2, "valid")), (pool(),))
    for name in "bcdefgh":
        mixed(net, f"Mixed_6{name}", (conv(1),), (conv(1), WIDE, TALL), (conv(1), TALL, WIDE, TALL, WIDE), (MEAN,))
    mixed(net, "Mixed_7a", (conv(1), conv(3, 2, "valid")), (conv(1), WIDE, TALL, conv(3, 2, "valid")), (pool(),))
    fork = (conv([1, 3]), conv([3, 1]))
    for name in "bcd":
        deep = (conv(1), conv([3, 1]), conv([1, 3]), fork)
        mixed(net, f"Mixed_7{name}", (conv(1),), (conv(1), fork), deep, (MEAN, conv(1)))
    return net.graph()


def residual(net: Net, name: str | None, *branches: tuple[Op, ...]) -> None:
    entry = net.last
    channels = net.value(entry).shape[1]
    net.add("add", entry, net.conv(channels, 1, mixed(net, None, *branches)), name=name)


def inception_resnet_v2(size: int, pad: str) -> Graph:
    net, down = Net(1, size, size), conv(3, 2, pad)
    stem(net, pad)
    line(net, ("MaxPool_3a_3x3", pool(pad=pad)), ("Conv2d_3b_1x1", conv(1)), ("Conv2d_4a_3x3", conv(3, 1, pad)),
         ("MaxPool_5a_3x3", pool(pad=pad)))  # fmt: skip
    mixed(net, "Mixed_5b", (conv(1),), (conv(1), conv(5)), (conv(1), conv(3), conv(3)), (MEAN, conv(1)))
    for _ in range(10):
        residual(net, None, (conv(1),), (conv(1), conv(3)), (conv(1), conv(3), conv(3)))
    mixed(net, "Mixed_6a", (down,), (conv(1), conv(3), down), (pool(pad=pad),))
    for i in range(20):
        residual(net, "PreAuxLogits" if i == 19 else None, (conv(1),), (conv(1), WIDE, TALL))
    mixed(net, "Mixed_7a", (conv(1), down), (conv(1), down), (conv(1), conv(3), down), (pool(pad=pad),))
    for _ in range(10):
        residual(net, None, (conv(1),), (conv(1), conv([1, 3]), conv([3, 1])))
    line(net, ("Conv2d_7b_1x1", conv(1)))
    return net.graph()


def mobilenet_v1(size: int) -> Graph:
    net = Net(1, size, size)
    line(net, ("Conv2d_0", conv(3, 2)))
    for i, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1), start=1):
        line(net, (f"Conv2d_{i}_depthwise", conv(3, stride)), (f"Conv2d_{i}_pointwise", conv(1)))
    return net.graph()


def explicit(net: Net, source: str, kernel: int, stride: int) -> str:
    """conv2d_same: padded alike on both sides, whatever the size."""
    return net.conv(1, kernel, source, stride=stride, pad=kernel // 2)


def resnet(size: int, *units: int) -> Graph:
    """Every block but the last has its stride in its last unit (He's own release has it in the first)."""
    net = Net(1, size, size)
    apply(net, pool(pad="same"), explicit(net, "x", 7, 2))
    for block, repeat in enumerate(units, start=1):
        for unit in range(repeat):
            last = unit == repeat - 1
            stride = 2 if last and block < len(units) else 1
            entry = net.last
            shortcut = apply(net, pool(1, stride), entry) if stride > 1 else entry
            branch = net.conv(1, 1, explicit(net, net.conv(1, 1, entry), 3, stride))
            net.add("add", shortcut, branch, name=f"block{block}" if last else None)
    return net.graph()
