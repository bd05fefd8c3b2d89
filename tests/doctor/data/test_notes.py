"""What a reader notes is an info finding."""

from __future__ import annotations

from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import Labels
from reid.doctor.data.notes import reader_notes


class Noting(Reader):
    """Notes the same line whenever it lists."""

    def records(self) -> list[Record]:
        """One row."""
        self.note("list.csv is read as Latin-1; set data.reader.encoding if that is wrong.")
        self.note("2 files are passed over.")
        return [Record(Labels(sample_id="a", dataset=self.dataset, split="test", pid=7))]


def test_each_note_is_one_finding_however_often_the_records_are_listed() -> None:
    reader = Noting(None, "mine")
    reader.records()
    reader.records()
    read, passed = reader_notes(reader)
    assert (read.level, read.code, read.text) == ("info", "reader-note", "list.csv is read as Latin-1.")
    assert read.remedy == "set data.reader.encoding if that is wrong"
    assert passed.text == "2 files are passed over." and passed.remedy == "none, if that is meant"
