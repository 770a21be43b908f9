"""Questions about the behavior of the real Gmail, answered by reading a mailbox.

- `examination.py`: `examine` asks all questions of one mailbox.
- `reads.py`: what is read for them, once, for at most 300 quota units.
- `probe.py` and `probes/`: the questions, with the expected answers and what another answer means.
- `shapes.py`, `record.py`: a record of the answers without anything of the mailbox's content.
- `replay.py`: a record compared with the emulator.
"""
