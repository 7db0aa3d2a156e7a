"""The functions that a simulated machine is made of: bridges and endpoints, each with its registers.

Children of a bridge are given as a mapping from device/function number to function. A number may be written
as Linux prints it (``"01.0"``) or as the 8-bit number that ARI counts with (``8``)::

    root_port({"00.0": upstream_port({"00.0": downstream_port(ari_device(0, 1, 8, 9))})})
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from schemas import pcie_capability as exp
from simulator import register_blocks as blocks
from simulator.config_space import ConfigSpace
from simulator.register_blocks import Port, Sriov

if TYPE_CHECKING:
    from collections.abc import Mapping

    Place = str | int

#: BAR number -> (size in bytes, low type bits).
Bars = dict[int, tuple[int, int]]


@dataclass(eq=False)
class Function:
    """One function of the hardware.

    Attributes:
        kind: ``host``, ``endpoint``, ``root-port``, ``upstream``, ``downstream``, ``pcie-to-pci``,
            ``pci-to-pcie`` or ``pci-bridge``.
        config: its registers.
        standard, extended: capability ID -> offset, as they really are.
        size: bytes of config space that it decodes (256 or 4096).
        children: functions on the bus below, by device/function number; None for an endpoint.
        present: it sits in its slot (:meth:`Machine.unplug` takes it out).
        dead: it answers nothing, and a bridge forwards nothing.
        link_up: the link below a port works.
        rrs: vendor reads that it still answers with Request Retry Status.
        reads_left: reads that it still answers before it dies; None: as many as there are.
        overrides: offset -> answer forced upon reads, and how often (see :meth:`Machine.answer`).
        name: its address as firmware numbers the buses first; it stays, whatever happens to bus numbers.
        parent: the bridge above; None on a root bus.
        virtual: enabled virtual functions of a physical function, by number from 0.
    """

    kind: str
    config: ConfigSpace
    standard: dict[int, int]
    extended: dict[int, int]
    size: int = 4096
    children: dict[int, Function] | None = None
    sriov: Sriov | None = None
    present: bool = True
    dead: bool = False
    link_up: bool = True
    rrs: int = 0
    overrides: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    reads_left: int | None = None
    name: str = ""
    devfn: int = 0
    parent: Function | None = None
    virtual: dict[int, Function] = field(default_factory=dict)

    @property
    def is_bridge(self) -> bool:
        """It has a bus below (a type 1 header)."""
        return self.children is not None

    @property
    def pcie(self) -> int | None:
        """Offset of the PCI Express capability."""
        return self.standard.get(blocks.PCIE)

    @property
    def ari_forwarding(self) -> bool:
        """DEVCTL2 bit 5 as the hardware holds it."""
        return self.pcie is not None and bool(self.config.get(self.pcie + exp.DEVCTL2, 2) & exp.DEVCTL2_ARI)

    @property
    def converts_device_0_only(self) -> bool:
        """Without ARI Forwarding it passes device number 0 only to the bus below (PCIe 7.3.1, 7.5.3.16)."""
        return self.kind in ("root-port", "downstream", "pci-to-pcie")


@dataclass(frozen=True)
class Model:
    """Where a family of devices has its capabilities (ID, offset; in list order) and how it behaves.

    Attributes:
        silicon: registers as hardware implements them, else as QEMU's models do.
        ltr: ports and endpoints support LTR.
    """

    name: str
    port: tuple[tuple[int, int], ...]
    port_extended: tuple[tuple[int, int], ...]
    switch: tuple[tuple[int, int], ...]
    switch_extended: tuple[tuple[int, int], ...]
    endpoint: tuple[tuple[int, int], ...]
    endpoint_extended: tuple[tuple[int, int], ...]
    port_id: int = 0x000C1B36
    upstream_id: int = 0x8232104C
    downstream_id: int = 0x8233104C
    endpoint_id: int = 0x00101B36
    silicon: bool = False
    ltr: bool = False


#: QEMU 10.0: pcie-root-port, x3130-upstream, xio3130-downstream, nvme (with an ARI capability).
QEMU = Model(
    "qemu",
    port=((blocks.PCIE, 0x54), (blocks.MSIX, 0x48), (blocks.SSVID, 0x40)),
    port_extended=((blocks.AER, 0x100), (blocks.ACS, 0x148)),
    switch=((blocks.PCIE, 0x90), (blocks.SSVID, 0x80), (blocks.MSI, 0x70)),
    switch_extended=((blocks.AER, 0x100),),
    endpoint=((blocks.MSIX, 0x40), (blocks.PCIE, 0x80), (blocks.PM, 0x60)),
    endpoint_extended=((blocks.ARI, 0x100), (blocks.SRIOV, 0x120)),
)

#: A server with LTR, ACS, AER and DPC where hardware has them; PCIe capabilities at other offsets.
SILICON = Model(
    "silicon",
    port=((blocks.SSVID, 0x40), (blocks.MSI, 0x60), (blocks.PCIE, 0x90), (blocks.PM, 0xE0)),
    port_extended=((blocks.AER, 0x100), (blocks.ACS, 0x150), (blocks.DPC, 0x160)),
    switch=((blocks.PM, 0x40), (blocks.MSI, 0x48), (blocks.PCIE, 0x68), (blocks.SSVID, 0xA4)),
    switch_extended=((blocks.SERIAL_NUMBER, 0x100), (blocks.AER, 0x148), (blocks.ACS, 0x220)),
    endpoint=((blocks.PM, 0x40), (blocks.MSI, 0x50), (blocks.MSIX, 0x70), (blocks.PCIE, 0xA0)),
    endpoint_extended=(
        (blocks.AER, 0x100),
        (blocks.ARI, 0x150),
        (blocks.SRIOV, 0x160),
        (blocks.ACS, 0x1D0),
    ),
    port_id=0x347A8086,
    upstream_id=0xC0101000,
    downstream_id=0xC0101000,
    endpoint_id=0x1592_8086,
    silicon=True,
    ltr=True,
)


def devfn(place: Place) -> int:
    """``"01.2"`` -> 10; a number stays what it is."""
    if isinstance(place, int):
        return place
    slot, _, function = place.partition(".")
    return int(slot, 16) << 3 | int(function)


def _bus(children: Mapping[Place, Function] | Mapping[int, Function] | None) -> dict[int, Function]:
    return {devfn(place): function for place, function in sorted((children or {}).items(), key=_number)}


def _number(item: tuple[Place, Function] | tuple[int, Function]) -> int:
    return devfn(item[0])


def _make(
    kind: str,
    config: ConfigSpace,
    standard: dict[int, int],
    extended: dict[int, int],
    port: Port | None,
    msix: int = 0,
    children: dict[int, Function] | None = None,
) -> Function:
    blocks.standard(config, standard, port, msix)
    if port is not None:
        blocks.extended(config, extended, port)
    config.freeze()
    return Function(kind, config, standard, extended, 4096 if port is not None else 256, children)


def _port(
    kind: str, port: Port, model: Model, children: Mapping[Place, Function] | None, *, multifunction: bool
) -> Function:
    root = kind == "root-port"
    identity, revision = {"root-port": (model.port_id, 0), "upstream": (model.upstream_id, 2)}.get(
        kind, (model.downstream_id, 1)
    )
    config = ConfigSpace()
    header_type = 0x81 if multifunction else 1
    blocks.header(config, identity, 0x06040000 | revision, header_type, interrupt_pin=int(root))
    bars: Bars = {0: (0x1000, 0)} if root and not model.silicon else {}
    blocks.type_1(config, bars)
    standard = dict(model.port if root else model.switch)
    extended = dict(model.port_extended if root else model.switch_extended)
    return _make(kind, config, standard, extended, port, children=_bus(children))


def root_port(
    children: Mapping[Place, Function] | None = None,
    *,
    model: Model = QEMU,
    ari_forwarding: bool = True,
    version: int = 2,
    multifunction: bool = False,
    slot: int | None = 1,
) -> Function:
    """A root port with the bus below it; ``slot`` is the number of its hot-plug slot (None: no slot)."""
    port = Port(
        exp.TYPE_ROOT_PORT, version, ari_forwarding, model.ltr and version > 1, slot, silicon=model.silicon
    )
    return _port("root-port", port, model, children, multifunction=multifunction)


def upstream_port(
    children: Mapping[Place, Function] | None = None, *, model: Model = QEMU, multifunction: bool = False
) -> Function:
    """A switch's upstream port; ``children`` are its downstream ports."""
    port = Port(exp.TYPE_UPSTREAM, ltr=model.ltr, silicon=model.silicon)
    return _port("upstream", port, model, children, multifunction=multifunction)


def downstream_port(
    children: Mapping[Place, Function] | None = None,
    *,
    model: Model = QEMU,
    ari_forwarding: bool = True,
    multifunction: bool = False,
    slot: int | None = 2,
) -> Function:
    """A switch's downstream port; ``slot`` is the number of its hot-plug slot (None: no slot)."""
    port = Port(
        exp.TYPE_DOWNSTREAM, 2, ari_forwarding=ari_forwarding, ltr=model.ltr, slot=slot, silicon=model.silicon
    )
    return _port("downstream", port, model, children, multifunction=multifunction)


def pcie_to_pci_bridge(
    children: Mapping[Place, Function] | None = None, *, ari_forwarding: bool = True
) -> Function:
    """A PCI Express to PCI bridge (type 7). QEMU's advertises ARI Forwarding, as none should."""
    config = ConfigSpace()
    blocks.header(config, 0x000E1B36, 0x06040000, 1, interrupt_pin=1)
    blocks.type_1(config, {0: (0x1000, 4)})
    standard = {blocks.PCIE: 0x50, blocks.PM: 0x44}
    port = Port(exp.TYPE_PCIE_TO_PCI, ari_forwarding=ari_forwarding)
    return _make("pcie-to-pci", config, standard, {blocks.AER: 0x100}, port, children=_bus(children))


def pci_to_pcie_bridge(children: Mapping[Place, Function] | None = None) -> Function:
    """A PCI to PCI Express bridge (type 8): a downstream port on a conventional bus."""
    config = ConfigSpace()
    blocks.header(config, 0x8114_10B5, 0x06040000, 1)
    blocks.type_1(config, {})
    standard = {blocks.PM: 0x40, blocks.PCIE: 0x60}
    port = Port(exp.TYPE_PCI_TO_PCIE, ari_forwarding=True)
    return _make("pci-to-pcie", config, standard, {blocks.AER: 0x100}, port, children=_bus(children))


def pci_bridge(children: Mapping[Place, Function] | None = None) -> Function:
    """A conventional PCI-to-PCI bridge."""
    config = ConfigSpace()
    blocks.header(config, 0x00011B36, 0x06040000, 1)
    blocks.type_1(config, {})
    return _make("pci-bridge", config, {blocks.SSVID: 0x40}, {}, None, children=_bus(children))


def host_bridge(vendor_device: int = 0x29C08086) -> Function:
    """The host bridge at 00.0: conventional, 256 bytes."""
    config = ConfigSpace()
    blocks.header(config, vendor_device, 0x06000000, 0)
    blocks.type_0(config, {})
    return _make("host", config, {}, {}, None)


def conventional(
    vendor_device: int = 0x29188086,
    class_code: int = 0x06010002,
    *,
    multifunction: bool = False,
    capabilities: Mapping[int, int] | None = None,
    bars: Bars | None = None,
    interrupt_pin: int = 0,
) -> Function:
    """A conventional PCI function: 256 bytes, no ARI."""
    config = ConfigSpace()
    header_type = 0x80 if multifunction else 0
    blocks.header(config, vendor_device, class_code, header_type, interrupt_pin=interrupt_pin)
    blocks.type_0(config, bars or {})
    return _make("endpoint", config, dict(capabilities or {}), {}, None)


def endpoint(
    *,
    ari: int | None = None,
    multifunction: bool = False,
    sriov: Sriov | None = None,
    size: int = 4096,
    rrs: int = 0,
    model: Model = QEMU,
    vendor_device: int | None = None,
    integrated: bool = False,
) -> Function:
    """A PCI Express endpoint function.

    Args:
        ari: Next Function Number of its ARI capability; None: it has none.
        multifunction: header type bit 7.
        sriov: it is a physical function.
        size: config space that it decodes; with 256 it has no extended capabilities at all.
        rrs: vendor reads answered with Request Retry Status behind a reset.
        reads_left: reads that it still answers before it dies; None: as many as there are.
        model: family of devices.
        vendor_device: the dword at 0x00, device ID in the high half.
        integrated: a root complex integrated endpoint (no link registers).
    """
    config = ConfigSpace()
    header_type = 0x80 if multifunction else 0
    blocks.header(config, vendor_device or model.endpoint_id, 0x01080202, header_type, interrupt_pin=1)
    blocks.type_0(config, {0: (0x4000, 4)})
    absent = set() if ari is not None else {blocks.ARI}
    absent |= set() if sriov is not None else {blocks.SRIOV}
    extended = {identity: at for identity, at in model.endpoint_extended if identity not in absent}
    kind = exp.TYPE_RC_ENDPOINT if integrated else exp.TYPE_ENDPOINT
    port = Port(kind, ltr=model.ltr and not integrated, silicon=model.silicon)
    made = _make("endpoint", config, dict(model.endpoint), extended, port, msix=0x11 if sriov else 0x40)
    if ari is not None:
        blocks.ari(config, extended[blocks.ARI], ari)
    if sriov is not None:
        blocks.sriov(config, extended[blocks.SRIOV], sriov)
    if size < 4096:
        config.data[256:] = bytes(len(config.data) - 256)
        made.extended = {}
    config.freeze()
    made.size, made.sriov, made.rrs = size, sriov, rrs
    return made


def ari_device(
    *functions: int,
    multifunction: bool = True,
    chain: Mapping[int, int] | None = None,
    without_ari: tuple[int, ...] = (),
    sriov: Mapping[int, Sriov] | None = None,
    model: Model = QEMU,
) -> dict[Place, Function]:
    """The functions of one ARI device, chained in the order given and ended with 0.

    Args:
        functions: their numbers, 0 first.
        multifunction: header type bit 7 of each.
        chain: function -> Next Function Number, where it differs from the plain chain.
        without_ari: functions that have no ARI capability.
        sriov: physical functions among them.
        model: family of devices.
    """
    following = dict(zip(functions, [*functions[1:], 0], strict=True)) | dict(chain or {})
    return {
        number: endpoint(
            ari=None if number in without_ari else following[number],
            multifunction=multifunction,
            sriov=(sriov or {}).get(number),
            model=model,
        )
        for number in functions
    }
