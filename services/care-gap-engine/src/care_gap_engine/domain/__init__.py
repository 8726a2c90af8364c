"""Care-gap rules as pure functions over values: facts, charts, rules, deciders, explanations. No I/O."""
