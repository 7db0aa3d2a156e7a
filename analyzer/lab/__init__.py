"""The lab: boots a kernel in QEMU, kexecs it, breaks it on the way, and keeps what that leaves behind.

A scenario (data: ``scenarios/*.toml``) runs on a topology (data: ``topologies/*.toml``). Out comes a capture
of every config-space access, the serial console, and the truth: what each kernel enumerated by its own lspci.
The analysis of the capture is then compared with the truth and with what the scenario expects.
"""
