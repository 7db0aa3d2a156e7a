"""The lab: boots a kernel in QEMU, kexecs it, injects faults meanwhile, and keeps the files of the run.

A scenario (data: ``scenarios/*.toml``) runs on a topology (data: ``topologies/*.toml``). It leaves a capture
of every config-space access, the serial console, and the truth: what each kernel enumerated by its own lspci.
The analysis of the capture is then compared with the truth and with what the scenario expects.
"""
