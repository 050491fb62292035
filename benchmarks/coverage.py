"""How often the 95 % intervals of audits hold the truth.

Single outcomes (one transform, one answer an image): exactly, by summing over the binomial distribution, and by
simulation. Averages of several outcomes an image: by simulation of correlated answers (beta-binomial), beside the plain
percentile bootstrap that they are not computed with, for its sake.

    python benchmarks/coverage.py
"""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np

from cnnscope.audits.statistics.intervals import Bootstrap, interval, paired_difference, share, wilson

SHARES = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995)


def exact(n: int, p: float) -> float:
    """Probability that the Wilson interval of a binomial (n, p) share holds p."""
    total = 0.0
    for k in range(n + 1):
        low, high = wilson(k / n, n)
        if low <= p <= high:
            logarithm = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log(1 - p)
            total += exp(logarithm)
    return total


def simulated(n: int, p: float, repeats: int = 20_000) -> float:
    """The same by drawing, through the function that reports use."""
    drawn, counts = np.unique(np.random.default_rng(0).binomial(n, p, repeats), return_counts=True)
    hits = 0
    for k, count in zip(drawn, counts, strict=True):
        found = share((np.arange(n) < k).astype(float))
        hits += count * bool(found.low <= p <= found.high)
    return hits / repeats


def averaged(n: int, k: int, p: float, alike: float, repeats: int = 1_000) -> tuple[float, float]:
    """Coverage for averages of k outcomes an image: of `share`, and of the percentile bootstrap (every fifth)."""
    rng = np.random.default_rng(1)
    a = (1 - alike) / alike
    ours, percentile, boot = [], [], Bootstrap(n)
    for i in range(repeats):
        values = rng.binomial(k, rng.beta(p * a, (1 - p) * a, n)) / k
        found = share(values)
        ours.append(found.low <= p <= found.high)
        if i % 5 == 0:
            resampled = interval(float(values.mean()), boot.means(values[:, None])[:, 0])
            percentile.append(resampled.low <= p <= resampled.high)
    return float(np.mean(ours)), float(np.mean(percentile))


def differences(n: int, gain: float, loss: float, repeats: int = 5_000) -> float:
    """Coverage of paired differences, of those that have any change."""
    hits = []
    for counts in np.random.default_rng(2).multinomial(n, [gain, loss, 1 - gain - loss], repeats):
        if counts[:2].any():
            found = paired_difference(np.repeat([1.0, -1.0, 0.0], counts))
            hits.append(found.low <= gain - loss <= found.high)
    return float(np.mean(hits))


def main() -> None:
    print("single outcomes       n      p   exact  simulated")
    for n in (360, 2000):
        for p in SHARES:
            print(f"{n:23} {p:6.3f}  {exact(n, p):.4f}     {simulated(n, p):.4f}")
    for n in (360, 2000):
        grid = np.linspace(0.8, 0.995, 400)
        found = [exact(n, float(p)) for p in grid]
        outside = 100 * np.mean([not 0.93 <= c <= 0.975 for c in found])
        print(f"400 shares from 0.8 to 0.995, n {n}: {min(found):.4f} to {max(found):.4f}, {outside:.2f} % outside")
    print("\naverages              n   k      p  alike    ours  percentile bootstrap")
    for n in (50, 360, 2000):
        for k, p, alike in ((4, 0.9, 0.5), (4, 0.98, 0.5), (20, 0.98, 0.5), (20, 0.995, 0.5), (20, 0.995, 0.9)):
            ours, percentile = averaged(n, k, p, alike)
            print(f"{n:23} {k:3} {p:6.3f}  {alike:5}   {ours:.3f}  {percentile:.3f}")
    print("\npaired differences    n   gain   loss  coverage")
    for n in (360, 2000):
        for gain, loss in ((0.05, 0.05), (0.01, 0.03), (0.2, 0.1), (0.005, 0.005)):
            print(f"{n:23}  {gain:5}  {loss:5}     {differences(n, gain, loss):.3f}")


if __name__ == "__main__":
    main()
