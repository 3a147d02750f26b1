"""`headrace enqueue`: from words typed in a shell to checked arguments."""

import pytest

from tests.cli.conftest import Shell


def arguments(shell: Shell, *words: str, given: str = "") -> list[object]:
    """What was queued, in the order of sending."""
    shell.run("enqueue", *words, given=given)
    return [job["args"] for job in reversed(shell.run("jobs", "list", "--json").json())]


def test_values_are_read_as_the_types_of_the_task(shop: Shell) -> None:
    found = arguments(shop, "charge", "customer=2", "amount=9.90", 'tags=["a", "b"]')

    assert found == [{"customer": 2, "amount": "9.90", "tags": ["a", "b"]}]


def test_a_message_goes_to_each_of_its_handlers(shop: Shell) -> None:
    assert arguments(shop, "Paid", "order=7", "note=12") == [{"order": 7, "note": "12"}] * 2


def test_a_file_has_the_arguments_of_one_job_or_of_several(shop: Shell) -> None:
    shop.folder.joinpath("args.json").write_text('[{"customer": 2}, {"customer": 4, "amount": "3.50"}]')

    assert [job["customer"] for job in arguments(shop, "charge", "--file", "args.json")] == [2, 4]  # type: ignore[index]
    assert arguments(shop, "report", "--file", "-", given='{"pages": 5}')[-1] == {"pages": 5}


def test_wait_prints_the_result(shell: Shell) -> None:
    waiting = shell.start("enqueue", "greet", "name=Ada", "--wait=20s")
    shell.run("work", "--limit", "1")

    out, _ = waiting.communicate(timeout=20)
    assert out == "Hello, Ada!\n"
    assert waiting.returncode == 0


def test_wait_gives_up_when_asked_to(shell: Shell) -> None:
    assert "HR112" in shell.run("enqueue", "greet", "name=Ada", "--wait=50ms", code=1).err


def test_unique_job_is_queued_once(shell: Shell) -> None:
    first = shell.run("enqueue", "greet", "name=Ada", "--unique", "ada").out
    again = shell.run("enqueue", "greet", "name=Ada", "--unique", "ada")

    assert again.out == first
    assert "was queued before" in again.err


def test_repeat_and_json(shell: Shell) -> None:
    many = shell.run("enqueue", "greet", "name=Ada", "--repeat", "3", "--json").json()

    assert len({job["id"] for job in many}) == 3


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("gret", "name=Ada"), "HR102", "Closest: hello.greet"),
        (("greet", "Ada"), "HR109", "'Ada' is not key=value"),
        (("greet", "nme=Ada"), "HR101", "nme"),
        (("greet", "name=Ada", "times=two"), "HR101", "times: Expected `int`"),
        (("greet",), "HR101", "name"),
        (("greet", "name=Ada", "--delay", "soon"), "HR109", "delay='soon'"),
        (("greet", "name=Ada", "--at", "2099-01-01T10:00"), "HR103", "no time zone"),
        (("greet", "name=Ada", "--at", "noon"), "HR109", "--at=noon"),
        (("greet", "name=Ada", "--priority", "10"), "HR109", "priority=10"),
        (("greet", "name=Ada", "--repeat", "0"), "HR109", "--repeat=0"),
        (("greet", "--file", "none.json"), "HR109", "cannot be read"),
        (("greet", "--file", "hello.py"), "HR109", "is not JSON"),
    ],
)
def test_wrong_words_queue_nothing(shell: Shell, words: tuple[str, ...], code: str, says: str) -> None:
    error = shell.run("enqueue", *words, "--json", code=2).json()["error"]

    assert error["code"] == code
    assert says in f"{error['what']}\n{error['why']}"
    assert not (shell.folder / "jobs.db").exists()
