"""A record of what could not be read while a run goes on."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from senet.data.images import refuse_many
from senet.data.splits import Skipped

log = logging.getLogger(__name__)


@dataclass
class Faults:
    """Names each unreadable image once, adds it to `report`, and raises where they are too many."""

    total: int  # images in the part
    max_unreadable: float
    report: list[Skipped]
    seen: list[Skipped] = field(default_factory=list)

    def add(self, found: Iterable[Skipped]) -> None:
        """ValueError where the images seen are more than the share `max_unreadable` of all."""
        for fault in found:
            if fault not in self.seen:
                self.seen.append(fault)
                self._name(fault)
        refuse_many(self.seen, self.total, self.max_unreadable)

    def _name(self, fault: Skipped) -> None:
        if fault not in self.report:  # another iterator over the same images may have met it
            self.report.append(fault)
            log.warning("%s is left out: %s", *fault)
