"""Build captures the way real kernels write them, so that a test case reads like a sentence.

A simulated machine answers config requests; simulated firmware and kernels issue them in the order in which
the real ones do; a recorder writes them down. Nothing here knows verdicts or the replay: what a simulated
kernel found is an answer to compare with::

    recording = Recording(lab_topology())
    recording.firmware()
    recording.boot(Kernel())
    preserved = recording.preserve("0000:03:00.0", "0000:03:01.0")
    recording.kexec()
    recording.blackout(lambda machine: machine.clear("0000:02:00.0", "CAP_EXP+28.w", 0x20))
    incoming = recording.boot(Kernel(policy="inherit", preserved=preserved))
    result = analyze_capture(recording.capture(), Options(preserved="0000:03:00.0,0000:03:01.0"))
    assert result.kexecs[0].observed.discovered == incoming.enumerated

Machines are put together from :func:`root_port`, :func:`upstream_port`, :func:`downstream_port`, the other
bridges, :func:`endpoint` and :func:`ari_device`, or taken ready made (:func:`lab_topology`,
:func:`one_port`, :func:`one_switch`). What happens to the hardware is a method of :class:`Machine`, what a
kernel or its user does a method of :class:`Recording`.

The accesses of a whole scan, of the early quirks before it and of the shutdown agree one for one with those
of Linux 7.3.4 on QEMU 10.0 (tests/test_simulator_real.py). Driver binding and window assignment after
the scan are only of the same kind.
"""

from __future__ import annotations

from simulator.config_space import ConfigSpace
from simulator.functions import (
    QEMU,
    SILICON,
    Function,
    Model,
    ari_device,
    conventional,
    downstream_port,
    endpoint,
    host_bridge,
    pci_bridge,
    pci_to_pcie_bridge,
    pcie_to_pci_bridge,
    root_port,
    upstream_port,
)
from simulator.kernel import Kernel
from simulator.machine import ERROR, Machine
from simulator.presets import chipset, lab_topology, one_port, one_switch
from simulator.recorder import Recorder, Row
from simulator.recording import Recording
from simulator.register_blocks import Sriov

__all__ = [
    "ERROR",
    "QEMU",
    "SILICON",
    "ConfigSpace",
    "Function",
    "Kernel",
    "Machine",
    "Model",
    "Recorder",
    "Recording",
    "Row",
    "Sriov",
    "ari_device",
    "chipset",
    "conventional",
    "downstream_port",
    "endpoint",
    "host_bridge",
    "lab_topology",
    "one_port",
    "one_switch",
    "pci_bridge",
    "pci_to_pcie_bridge",
    "pcie_to_pci_bridge",
    "root_port",
    "upstream_port",
]
