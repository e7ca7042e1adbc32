"""Prints the SHA-256 of made-up images' features, and of what they are standardised with; needs no torch."""

import hashlib

import numpy as np

from softmax_regression.features.standardisation import Standardisation


def made_up(size: tuple[int, ...], count: int) -> np.ndarray:
    """Noise, black and white, single dots, and even areas: uint8 [4 · count, *size]."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (3, count, *size), dtype=np.uint8)
    even = np.broadcast_to(noise[0, :, :1, :1], noise[0].shape)
    return np.concatenate([noise[0], (noise[1] > 127) * np.uint8(255), noise[2] * (noise[1] > 250), even])


def main() -> None:
    digest = hashlib.sha256()
    for size, count in [((28, 28), 12), ((9, 13, 3), 8), ((8, 8), 70), ((40, 61), 2)]:
        images = made_up(size, count)
        found = Standardisation.fit(images[::2])
        for array in (found.means, found.deviations, found.transform(images)):
            digest.update(array.tobytes())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
