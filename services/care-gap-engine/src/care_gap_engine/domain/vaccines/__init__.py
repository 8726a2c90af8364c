"""Which vaccine is due, dose by dose: the CDC's CDSi logic specification 4.6 as pure functions over a loaded schedule.

Each module is a chapter of the specification; section numbers in docstrings are its. The schedule is data: no vaccine,
antigen or product is named here. Dates inside are day numbers (`date.toordinal`), so that they compare and add fast.
"""
