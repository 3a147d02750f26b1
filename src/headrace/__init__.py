"""headrace: background work for Python. These names are public; everything else may change."""

from headrace.app import App
from headrace.bus.context import Context
from headrace.bus.retry import Retry
from headrace.errors import HeadraceError, JobFailed, Reject, ResultTimeout, RetryLater, TransportError
from headrace.job import Job
from headrace.task import Task

__all__ = [
    "App",
    "Context",
    "HeadraceError",
    "Job",
    "JobFailed",
    "Reject",
    "ResultTimeout",
    "Retry",
    "RetryLater",
    "Task",
    "TransportError",
]
__version__ = "0.1.0.dev0"
