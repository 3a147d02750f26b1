"""Named places where a test may make the program break; they cost nothing while unarmed.

`arm("settle.before=kill@3; send.after_commit=raise")`: at the third pass of the first place the
process kills itself, at each pass of the second an OSError is raised. Actions: kill, raise,
exit:CODE, sleep:SECONDS; `@N` fires at the N-th pass only.
"""

import os
import signal
import time
from dataclasses import dataclass


@dataclass
class _Plan:
    action: str
    at: int
    passed: int = 0


_armed: dict[str, _Plan] = {}


def arm(plans: str) -> None:
    """Replace what is armed; an empty string disarms everything."""
    _armed.clear()
    for plan in filter(None, (part.strip() for part in plans.split(";"))):
        name, _, action = plan.partition("=")
        action, _, at = action.partition("@")
        _armed[name.strip()] = _Plan(action.strip(), int(at or 0))


def armed() -> bool:
    """Whether anything is armed (single statements then run in an explicit transaction)."""
    return bool(_armed)


def failpoint(name: str) -> None:
    """Do what is armed for `name`, if anything is."""
    if _armed and name in _armed:
        _fire(name, _armed[name])


def _fire(name: str, plan: _Plan) -> None:
    plan.passed += 1
    if plan.at and plan.passed != plan.at:
        return
    action, _, value = plan.action.partition(":")
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(int(value or 1))
        case "sleep":
            time.sleep(float(value))
        case "raise":
            raise OSError(f"failpoint {name}")
        case _:
            raise ValueError(f"failpoint {name}: unknown action {plan.action!r}")
