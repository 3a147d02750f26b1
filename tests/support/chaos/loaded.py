"""The application as a worker process imports it: on the store, and with the diary, that CHAOS_PLAN names."""

import os

import msgspec

from tests.support.chaos.plan import Plan

app = msgspec.json.decode(os.environ["CHAOS_PLAN"], type=Plan).chaos().app
