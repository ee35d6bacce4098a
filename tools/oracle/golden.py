"""The golden files: named float64 matrices, one record after the other.

A record is   char name[48] (NUL-padded)   uint32 rows   uint32 cols   float64 value[rows][cols]
in little-endian order, so every record starts at a multiple of eight bytes and C reads a file
as a row of structs (tests/support/oracle.h).
"""
import random
import struct

import torch

NAME_BYTES = 48
GRID = 1024  # drawn values are multiples of 1/GRID: exact in float, and cheap to store


def write(path, tensors):
    with open(path, "wb") as file:
        for name, value in tensors.items():
            assert len(name) < NAME_BYTES, name
            flat = value.detach().reshape(-1).tolist()
            file.write(struct.pack(f"<{NAME_BYTES}sII", name.encode(), *value.shape))
            file.write(struct.pack(f"<{len(flat)}d", *flat))


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    tensors, at = {}, 0
    while at < len(data):
        name, rows, cols = struct.unpack_from(f"<{NAME_BYTES}sII", data, at)
        at += NAME_BYTES + 8
        flat = struct.unpack_from(f"<{rows * cols}d", data, at)
        at += 8 * rows * cols
        tensors[name.rstrip(b"\0").decode()] = real(flat).reshape(rows, cols)
    return tensors


def real(values):
    return torch.tensor(values, dtype=torch.float64)


def number(value):
    return real([[float(value)]])


class Draw:
    """Nearly normal numbers on the grid, a function of the seed and the name asked for alone.

    Only random(), whose sequence Python promises never to change, is used: four of them added
    have a bell of their own.
    """

    def __init__(self, seed):
        self.seed = seed

    def __call__(self, name, shape, scale=1.0, mean=0.0):
        source = random.Random(f"{self.seed}/{name}")
        values = []
        for _ in range(shape[0] * shape[1]):
            bell = (sum(source.random() for _ in range(4)) - 2) * 3**0.5
            values.append(round((mean + scale * bell) * GRID) / GRID)
        return real(values).reshape(shape)

    def integers(self, name, shape, below):
        source = random.Random(f"{self.seed}/{name}")
        values = [float(int(source.random() * below)) for _ in range(shape[0] * shape[1])]
        return real(values).reshape(shape)
