"""What every CareLoop service stands on: plumbing and contracts, and no word of care."""
