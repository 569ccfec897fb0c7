"""The ledger's shadow: one 'seq hash' line a row, on another volume than the ledger. The approvals have one too.

In: the heads of the chain. Out: whether the ledger has lost rows. A ledger restored from a backup,
cut or replaced no longer matches the heads it once had. The file holds hashes only and stays at the site.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from shared.errors import ApprovalsError, LedgerError
from shared.whole_file import sync_folder


class HeadFile:
    """An append-only text file, made durable before a reply is sent; `of` says whose shadow it is."""

    def __init__(
        self, path: Path, of: str = "the ledger", error: type[LedgerError | ApprovalsError] = LedgerError
    ) -> None:
        self.path = path
        self._of = of
        self._error = error

    def agree(self, hashes: Sequence[str]) -> None:
        """Make the file hold exactly the heads of `hashes` (row 1 first), or raise the chain's error.

        Only the last row's line may be missing or torn: a crash between the ledger's commit and this file
        leaves that, and it is written now. Anything else was not done by this program.
        """
        expected = "".join(f"{seq} {digest}\n" for seq, digest in enumerate(hashes, start=1))
        held = self._read()
        if held is None:
            if hashes:
                raise self._error(
                    f"head_file {self.path}: missing beside {self._of} of {len(hashes)} rows; mount its volume "
                    f"or put the file back, for without it nothing shows that {self._of} is whole"
                )
            self._append("")
        elif not expected.startswith(held):
            if held.startswith(expected):
                reason = (
                    f"knows {held.count(chr(10))} rows, {self._of} has {len(hashes)}: it was restored or cut"
                )
            else:
                reason = (
                    f"holds other hashes than {self._of}: one of them was edited or belongs to another site"
                )
            raise self._error(
                f"head_file {self.path}: {reason}; put back {self._of} as it was last, and never delete the head file"
            )
        elif (missing := expected[len(held) :]).count("\n") > 1:
            raise self._error(
                f"head_file {self.path}: is {missing.count(chr(10))} rows behind {self._of}, a crash "
                "leaves at most 1; it was restored or cut, put back the newest one"
            )
        elif missing:
            self._append(missing)

    def _read(self) -> str | None:
        try:
            return self.path.read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._error(
                f"head_file {self.path}: cannot be read; check its volume and its rights"
            ) from error

    def _append(self, text: str) -> None:
        try:
            new = not self.path.exists()
            if new:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            if new:
                sync_folder(self.path.parent)
        except OSError as error:
            raise self._error(
                f"head_file {self.path}: cannot be written; check its volume and rights"
            ) from error
