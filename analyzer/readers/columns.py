"""Tables of numpy arrays, one array a column: what the readers pass on between their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Columns:
    """Base of frozen dataclasses whose fields are arrays of one length."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def pick(self, rows: NDArray[Any] | slice) -> Self:
        """Return the rows that a mask, an index array or a slice selects."""
        return type(self)(**{name: column[rows] for name, column in vars(self).items()})

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of all parts (at least one), one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            **{name: np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])}
        )
