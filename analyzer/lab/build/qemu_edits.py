"""What the lab changes in QEMU: an ARI chain for the NVMe model, and faults that ports have by themselves.

Tried with QEMU 7.2 (Debian 12) and 10.0 (Debian 13).
"""

from importlib.resources import files

from analyzer.lab.build.edits import Edit, NewFile

_DATA = files("analyzer.lab.build") / "data"

# Without the option a controller is unchanged; with SR-IOV it keeps its own ARI capability then.
_ARI_CAPABILITY = """\
if (!pci_is_vf(pci_dev) && n->params.lab_ari_next >= 0) {
        /* aritrace lab: an ordinary function of an ARI device, with its place in the chain */
        if (n->params.lab_ari_next > 0xff) {
            error_setg(errp, "x-ari-next must be a function number from 0 (end of the chain) to 255");
            return false;
        }
        pcie_add_capability(pci_dev, PCI_EXT_CAP_ID_ARI, 1, 0x100, PCI_ARI_SIZEOF);
        pci_set_word(pci_dev->config + 0x100 + PCI_ARI_CAP, n->params.lab_ari_next << 8);
    } else """

QEMU_CHANGES: tuple[Edit | NewFile, ...] = (
    Edit(
        "hw/nvme/nvme.h",
        "bool msix_exclusive_bar;",
        "after",
        "\n    int32_t  lab_ari_next; /* aritrace lab: Next Function Number, or -1 for no ARI capability */",
    ),
    Edit(
        "hw/nvme/ctrl.c",
        'DEFINE_PROP_BOOL("msix-exclusive-bar",',
        "before",
        'DEFINE_PROP_INT32("x-ari-next", NvmeCtrl, params.lab_ari_next, -1),\n    ',
    ),
    Edit(
        "hw/nvme/ctrl.c", "if (n->params.sriov_max_vfs) { pcie_ari_init(pci_dev,", "before", _ARI_CAPABILITY
    ),
    NewFile("hw/pci/aritrace_lab.c.inc", (_DATA / "aritrace_lab.c.inc").read_text(encoding="utf-8")),
    Edit(
        "hw/pci/pcie_port.c",
        "static void pcie_port_class_init(",
        "before",
        '#include "aritrace_lab.c.inc"\n\n',
    ),
    Edit(
        "hw/pci/pcie_port.c",
        "device_class_set_props(dc, pcie_port_props);",
        "after",
        "\n    aritrace_lab_port_class_init(oc);",
    ),
)
