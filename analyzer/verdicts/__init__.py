"""From before, after and replay to findings: bridges, devices, causes, rules, with the evidence for each."""
