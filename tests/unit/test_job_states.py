"""Every pair of state and input: where it leads, or that it leads nowhere."""

import pytest

from headrace.bus.retry import Reason
from headrace.errors import IllegalTransition
from headrace.ledger.job import ARROWS, TERMINAL, Input, State, sources, step
from headrace.transports.sql.rows import state_of

# Rows: states. Columns: inputs. A dot: refused.
GRID = """
.           REPORT     ACK       NACK     CRASH    RETURN_NEW RETURN_TRIED FAIL   QUARANTINE  EXPIRE  CANCEL    RETRY
pending     processing completed retrying retrying pending    .            failed .           expired cancelled .
processing  processing completed retrying retrying pending    retrying     failed .           .       .         .
retrying    processing completed retrying retrying .          retrying     failed quarantined expired cancelled .
completed   .          .         .        .        .          .            .      .           .       .         pending
failed      .          .         .        .        .          .            .      .           .       .         pending
cancelled   .          .         .        .        .          .            .      .           .       cancelled pending
quarantined .          .         .        .        .          .            .      .           .       .         pending
expired     .          .         .        .        .          .            .      .           .       .         pending
"""
(_, *HEADER), *LINES = (line.split() for line in GRID.strip().splitlines())
CELLS = [(State(line[0]), Input[name], leads) for line in LINES for name, leads in zip(HEADER, line[1:], strict=True)]


def test_grid_is_complete() -> None:
    assert len(CELLS) == len(State) * len(Input)


@pytest.mark.parametrize(("state", "given", "leads"), [cell for cell in CELLS if cell[2] != "."])
def test_arrow_leads_to_the_state(state: State, given: Input, leads: str) -> None:
    assert step(state, given) is State(leads)


@pytest.mark.parametrize(("state", "given"), [cell[:2] for cell in CELLS if cell[2] == "."])
def test_input_without_an_arrow_is_refused_by_name(state: State, given: Input) -> None:
    with pytest.raises(IllegalTransition) as refused:
        step(state, given, "job 7")
    assert refused.value.what == f"cannot {given} job 7: it is {state}"


def test_only_people_lead_out_of_a_terminal_state() -> None:
    leaving = {given for (state, given), to in ARROWS.items() if state in TERMINAL and to not in TERMINAL}
    assert leaving == {Input.RETRY}
    assert {state for state in State if state not in TERMINAL} == {State.PENDING, State.PROCESSING, State.RETRYING}


def test_sources_are_the_states_with_an_arrow() -> None:
    assert sources(Input.RETRY) == TERMINAL
    assert sources(Input.QUARANTINE) == {State.RETRYING}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_to_bury_stands_for_a_terminal_state(reason: Reason) -> None:
    assert State(state_of(reason)) in TERMINAL
