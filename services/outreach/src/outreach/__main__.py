"""`python -m outreach serve | migrate`, and `python -m outreach gate` for the egress gate."""

import sys

if sys.argv[1:2] == ["gate"]:
    from outreach.gate.program import main

    main()
else:
    from outreach.main import SERVICE
    from outreach.settings import Settings
    from phi_common.service import run

    run(SERVICE, Settings)
