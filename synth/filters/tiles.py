"""Tiles of a matrix product, in numpy or on a torch device: the arithmetic under `neighbours`."""

from __future__ import annotations

import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pica.synth.errors import UsageError

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

#: Smaller than any cosine.
NONE = np.float32(-2)


class Engine(Protocol):
    """Products of blocks of rows, of which only what is asked for comes back as numpy arrays.

    What `load` and `product` return belongs to the engine; a product lasts until the next one.
    """

    def load(self, block: Floats) -> Any:
        """A block of vectors [r, d], ready for `product`."""

    def product(self, a: Any, b: Any, *, same: bool = False) -> Any:
        """All cosines of two blocks, [rows of a, rows of b]; with `same` the diagonal is `NONE`."""

    def row_max(self, product: Any) -> Floats:
        """The largest cosine of every row."""

    def column_max(self, product: Any) -> Floats:
        """The largest cosine of every column."""

    def rows(self, product: Any, which: Rows) -> Floats:
        """Some rows of a product."""

    def columns(self, product: Any, which: Rows) -> Floats:
        """Some columns of a product, as rows."""


class NumpyEngine:
    """Products by the BLAS that numpy was built with."""

    def __init__(self) -> None:
        self._buffer: Floats = np.empty(0, dtype=np.float32)

    def load(self, block: Floats) -> Floats:
        """The block as it is."""
        return block

    def product(self, a: Floats, b: Floats, *, same: bool = False) -> Floats:
        """The product, in a buffer that the next call uses again."""
        if self._buffer.size < len(a) * len(b):
            self._buffer = np.empty(len(a) * len(b), dtype=np.float32)
        out = self._buffer[:len(a) * len(b)].reshape(len(a), len(b))
        np.matmul(a, b.T, out=out)
        if same:
            np.fill_diagonal(out, NONE)
        return out

    def row_max(self, product: Floats) -> Floats:
        """The largest of every row."""
        return np.asarray(product.max(axis=1))

    def column_max(self, product: Floats) -> Floats:
        """The largest of every column."""
        return np.asarray(product.max(axis=0))

    def rows(self, product: Floats, which: Rows) -> Floats:
        """Some rows."""
        return product[which]

    def columns(self, product: Floats, which: Rows) -> Floats:
        """Some columns, as rows."""
        return np.ascontiguousarray(product[:, which].T)


class TorchEngine:
    """Products on a torch device, in full float32 whatever precision the process prefers."""

    def __init__(self, device: str) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)

    def load(self, block: Floats) -> Any:
        """The block on the device."""
        return self._torch.from_numpy(np.ascontiguousarray(block)).to(self._device)

    def product(self, a: Any, b: Any, *, same: bool = False) -> Any:
        """The product, on the device."""
        before = self._torch.get_float32_matmul_precision()
        self._torch.set_float32_matmul_precision("highest")  # TF32 errs by 1e-3, twenty times less than the threshold
        try:
            out = a @ b.T
        finally:
            self._torch.set_float32_matmul_precision(before)
        return out.fill_diagonal_(float(NONE)) if same else out

    def row_max(self, product: Any) -> Floats:
        """The largest of every row."""
        return self._home(product.amax(dim=1))

    def column_max(self, product: Any) -> Floats:
        """The largest of every column."""
        return self._home(product.amax(dim=0))

    def rows(self, product: Any, which: Rows) -> Floats:
        """Some rows."""
        return self._home(product[self._torch.from_numpy(which).to(self._device)])

    def columns(self, product: Any, which: Rows) -> Floats:
        """Some columns, as rows."""
        return self._home(product[:, self._torch.from_numpy(which).to(self._device)].T.contiguous())

    @staticmethod
    def _home(tensor: Any) -> Floats:
        return np.asarray(tensor.cpu().numpy(), dtype=np.float32)


def open_engine(device: str = "auto") -> Engine:
    """`numpy`, a torch device (`cpu`, `cuda`, `cuda:1`), or `auto`: a CUDA device if torch is loaded and has one."""
    if device == "numpy":
        return NumpyEngine()
    if device == "auto":
        torch = sys.modules.get("torch")
        return TorchEngine("cuda") if torch is not None and torch.cuda.is_available() else NumpyEngine()
    try:
        return TorchEngine(device)
    except ImportError:
        raise UsageError(f"device {device!r} needs torch; give 'numpy', or install it: pip install 'pica[embed]'"
                         ) from None
    except RuntimeError:
        raise UsageError(f"unknown device {device!r}; allowed: 'auto', 'numpy', or a torch device as 'cuda:0'"
                         ) from None
