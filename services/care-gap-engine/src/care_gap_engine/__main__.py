"""`python -m care_gap_engine serve | migrate`, and `python -m care_gap_engine conformance cdsi` without servers."""

import sys

if sys.argv[1:2] == ["conformance"]:
    from care_gap_engine import conformance

    sys.exit(conformance.main(sys.argv[2:]))
else:
    from care_gap_engine.main import SERVICE
    from care_gap_engine.settings import Settings
    from phi_common.service import run

    run(SERVICE, Settings)
