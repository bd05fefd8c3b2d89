"""A finding names its files: a few for a person, more for a program, and how many there are."""

from __future__ import annotations

from reid.doctor.finding import Finding, fault_and_remedy


def finding(count: int) -> Finding:
    files = tuple(f"/data/{i}.jpg" for i in range(count))
    return Finding("error", "unreadable", "Cannot be read.", files[0], "fetch them", count, files)


def test_a_person_sees_the_first_files_and_their_number() -> None:
    lines = finding(7).lines(2)
    assert [line.strip() for line in lines if "/data/" in line] == [
        "for example: /data/0.jpg",
        "file: /data/0.jpg",
        "file: /data/1.jpg",
    ]
    assert "… 7 files in all; --files N lists more" in lines[-2]


def test_a_single_file_that_is_the_example_is_named_once() -> None:
    assert sum("/data/0.jpg" in line for line in finding(1).lines()) == 1


def test_a_program_gets_the_first_files_and_the_total() -> None:
    tree = finding(150).to_json()
    assert len(tree["files"]) == 100 and tree["files_total"] == 150
    assert len(finding(150).to_json(120)["files"]) == 120


def test_an_error_is_cut_into_its_first_sentence_and_the_remedy() -> None:
    assert fault_and_remedy(ValueError("a: 3 lack some, e.g. one of b/1. Complete them. Or not.")) == (
        "a: 3 lack some, e.g. one of b/1.",
        "Complete them. Or not",
    )
    assert fault_and_remedy(ValueError("a: wrong.")) == ("a: wrong.", "")
