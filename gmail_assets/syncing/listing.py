"""What Gmail lists of a mailbox for one comparison, each listing made once and only when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

from gmail_assets.syncing.results import Progress
from gmail_assets.syncing.table import TableSync
from gmail_client.api import GmailApi
from gmail_client.changes import ListedThread, list_message_ids, list_thread_heads
from gmail_client.labels import HIDDEN_LABELS
from gmail_client.options import TableOptions

__all__ = ["Listing", "ListingProgress"]


class ListingProgress:
    """Tells how far a listing is, out of the profile's own counts where no filter narrows it.

    Args:
        api: The mailbox; its units since now are told too.
        profile: What getProfile says.
        tell: Whom.
    """

    def __init__(self, api: GmailApi, profile: Mapping[str, Any], tell: Callable[[Progress], None]) -> None:
        self._usage = api.usage
        self._before = api.usage.snapshot()
        self._totals = {name: int(profile.get(f"{name}Total") or 0) for name in ("messages", "threads")}
        self._tell = tell

    def messages(self, options: TableOptions | None = None) -> Callable[[int], None]:
        """What to call with the number of messages listed with these options (None: all there are)."""
        return self._counting("messages", options)

    def threads(self, options: TableOptions | None = None) -> Callable[[int], None]:
        """What to call with the number of threads listed with these options (None: all there are)."""
        return self._counting("threads", options)

    def _counting(self, name: str, options: TableOptions | None) -> Callable[[int], None]:
        total = None if options is not None and options.filtered else self._totals[name]

        def tell(done: int) -> None:
            units = self._usage.since(self._before).total_units
            of = None if total is None else max(total, done)
            self._tell(Progress(f"listing {name}", done, of, units=units))

        return tell


class Listing:
    """The listings of one comparison.

    Args:
        api: The mailbox.
        options: Gives the page size.
        verifying: Stored rows are to be compared too, so everything is listed, with the threads' history ids.
        progress: Told how far they are.

    Attributes:
        everything: Thread id to what threads.list says, spam and trash included; empty unless verifying.
        present: Message id to thread id of all there is, spam and trash included; empty unless verifying.
    """

    def __init__(
        self, api: GmailApi, options: TableOptions, *, verifying: bool, progress: ListingProgress
    ) -> None:
        self._api = api
        self._progress = progress
        self._ids: dict[tuple[object, ...], dict[str, str]] = {}
        self._heads: dict[tuple[object, ...], dict[str, ListedThread]] = {}
        self.everything: dict[str, ListedThread] = {}
        self.present: dict[str, str] = {}
        if verifying:
            # Heads before ids: a change between the two then shows as a moved head at the next comparison.
            self.everything = list_thread_heads(api, options, everything=True, tell=progress.threads())
            self.present = list_message_ids(api, options, everything=True, tell=progress.messages())

    def heads(self, target: TableSync) -> Mapping[str, ListedThread]:
        """Thread heads for the rows of new threads."""
        if self.everything or target.name != "threads":
            return self.everything
        key = (target.options.q, target.options.label_ids, target.options.include_spam_trash)
        if key not in self._heads:
            self._heads[key] = list_thread_heads(
                self._api, target.options, tell=self._progress.threads(target.options)
            )
        return self._heads[key]

    def wanted(self, target: TableSync) -> dict[str, str]:
        """Messages that the filters let in: id to thread id."""
        options = target.options
        key = (options.q, options.label_ids, options.include_spam_trash)
        if key == (None, (), True) and self.present:
            return self.present
        if key not in self._ids:
            self._ids[key] = list_message_ids(self._api, options, tell=self._progress.messages(options))
        return self._ids[key]

    def members(self, target: TableSync, wanted: dict[str, str]) -> tuple[dict[str, str], set[str]]:
        """What the rows have to hold, and threads that have to be read whole to know.

        A thread's row holds all its visible messages, also those that the filters don't name; and a thread that is
        there stays, also where `q` has ceased to name it.
        """
        options = target.options
        if target.name == "messages" or not options.filtered:
            return wanted, set()
        threads = set(wanted.values())
        bare = options.model_copy(update={"q": None, "label_ids": ()})
        key = (None, (), options.include_spam_trash)
        if key == (None, (), True) and self.present:
            self._ids[key] = self.present
        if key not in self._ids:
            total = int(self._api.profile().get("messagesTotal") or 0)
            pages = total // options.page_size + 1
            new = sum(1 for thread_id in threads if not target.holds(thread_id))
            # Only a listing surely names what is in the trash.
            if (
                target.mode == "full_load"
                and not options.include_spam_trash
                and new * self._api.plan.price("messages.get") < pages * self._api.plan.price("messages.list")
            ):
                return {}, threads
            self._ids[key] = list_message_ids(self._api, bare, tell=self._progress.messages(bare))
        members = {m: t for m, t in self._ids[key].items() if t in threads or target.holds(t)}
        return members, set()

    @staticmethod
    def hidden(api: GmailApi, target: TableSync, threads: Set[str]) -> dict[str, str]:
        """Messages of these threads in spam and trash that belong into the rows: threads.get may leave them out."""
        if not threads or not target.options.include_spam_trash:
            return {}
        return {
            message_id: thread_id
            for label in sorted(HIDDEN_LABELS)
            for message_id, thread_id in list_message_ids(
                api, target.options.model_copy(update={"q": None, "label_ids": (label,)})
            ).items()
            if thread_id in threads
        }
