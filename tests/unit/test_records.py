"""Groups of dead letters, from rows."""

from headrace.ledger.dead import id_range
from headrace.ledger.records import Group, edges, grouped


def test_groups_add_up_what_differs_in_type_queue_or_reason() -> None:
    rows = [
        ("f3a1", "b.pay", "cash", "failed", 100.0, 200.0, 3, 1, 1, 1, 2),
        ("f3a1", None, "mail", "rejected", 50.0, 300.0, 2, 1, 1, 1, 1),
        ("9c07", "greet", "mail", "failed", 400.0, 400.0, 1, 0, 0, 0, 0),
    ]
    causes = [("f3a1", "No at b.py:8\nTraceback"), ("9c07", None)]

    assert grouped(rows, causes) == [
        Group("9c07", 1, ("greet",), ("mail",), "failed", "", 400.0, 400.0, (0, 0, 0, 0, 1)),
        Group("f3a1", 5, ("", "b.pay"), ("cash", "mail"), "rejected", "No at b.py:8", 50.0, 300.0, (2, 0, 0, 1, 2)),
    ]  # fmt: skip
    assert grouped([], []) == []


def test_edges_cut_the_time_since_the_oldest_letter_in_five() -> None:
    assert edges(0.0, 10_000.0) == [2000.0, 4000.0, 6000.0, 8000.0]
    assert edges(9_999.0, 10_000.0) == [7120.0, 7840.0, 8560.0, 9280.0]  # at least an hour
    assert edges(6_400.0, 10_000.0) == edges(6_401.0, 10_000.0) != edges(6_399.0, 10_000.0)


def test_beginning_of_an_id_is_a_range_of_ids() -> None:
    low, high = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
    assert id_range("01A2-") == (f"01a2{low[4:]}", f"01a2{high[4:]}")
    assert id_range(low) == (low, low)
    assert [id_range(text) for text in ("", "-", "xyz", low + "0", "%")] == [None] * 5
