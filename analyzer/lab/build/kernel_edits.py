"""What the lab changes in Linux: the inherit rule of the Live Update series for a set from the command line.

The rules are those of versions 6, 7 and 9 of the series (docs/replay.md), chosen by ``lab_series=``: ARI of
a preserved bridge is what Device Control 2 shows, ``pci=noari`` comes after that, and preserved devices keep
Bus Master at kexec. In versions 6 and 7 bridges without bus numbers stay without; in version 9 only where a
preserved bridge on that bus lost its own, and ACS Control of a preserved function stays as it is. Tried with
Linux 6.1 and 6.12 (Debian 12 and 13).
"""

from importlib.resources import files

from analyzer.lab.build.edits import Edit, NewFile

_DATA = files("analyzer.lab.build") / "data"
_INCLUDE = '\n#include "aritrace_lab.h"'

KERNEL_CHANGES: tuple[Edit | NewFile, ...] = (
    *(
        NewFile(f"drivers/pci/{name}", (_DATA / name).read_text(encoding="utf-8"))
        for name in ("aritrace_lab.c", "aritrace_lab.h", "aritrace_lab.bootconfig")
    ),
    Edit(
        "drivers/pci/Makefile",
        "obj-$(CONFIG_PCI) += msi/",
        "before",
        "obj-$(CONFIG_PCI)\t\t+= aritrace_lab.o\n",
    ),
    *(
        Edit(f"drivers/pci/{name}.c", '#include "pci.h"', "after", _INCLUDE)
        for name in ("pci", "pci-driver", "probe")
    ),
    # pci_configure_ari(): pci=noari no longer decides before a preserved bridge has been looked at.
    Edit(
        "drivers/pci/pci.c",
        "if (pcie_ari_disabled || !pci_is_pcie(dev) || dev->devfn)",
        "instead",
        "if (!pci_is_pcie(dev) || dev->devfn)",
    ),
    Edit(
        "drivers/pci/pci.c",
        "if (!(cap & PCI_EXP_DEVCAP2_ARI)) return;",
        "after",
        "\n\n\tif (aritrace_lab_inherit_ari(bridge) || pcie_ari_disabled)\n\t\treturn;",
    ),
    # pci_setup_device(): after the class has been read, before the line that names the device.
    Edit(
        "drivers/pci/probe.c",
        "dev->revision = class & 0xff;",
        "before",
        "aritrace_lab_announce(dev);\n\n\t",
    ),
    # pci_scan_bridge_extend(), second pass: just before bus numbers would be assigned.
    Edit(
        "drivers/pci/probe.c",
        "/* Clear errors */ pci_write_config_word(dev, PCI_STATUS, 0xffff);",
        "before",
        "if (aritrace_lab_refuse_bus_numbers(dev))\n\t\t\tgoto out;\n\n\t\t",
    ),
    # ACS Control, series v9: saved with the rest of the state, and not set up on a preserved function.
    Edit(
        "drivers/pci/pci.c",
        "pci_allocate_vc_save_buffers(dev);",
        "after",
        "\n\taritrace_lab_add_acs_buffer(dev);",
    ),
    Edit(
        "drivers/pci/pci.c",
        "pci_save_ptm_state(dev); return pci_save_vc_state(dev);",
        "before",
        "aritrace_lab_save_acs(dev);\n\t",
    ),
    Edit(
        "drivers/pci/pci.c",
        "/* Restore ACS and IOV configuration state */ pci_enable_acs(dev);",
        "instead",
        "if (!aritrace_lab_restore_acs(dev))\n\t\tpci_enable_acs(dev);",
    ),
    Edit(
        "drivers/pci/pci.c",
        "dev->acs_cap = pci_find_ext_capability(dev, PCI_EXT_CAP_ID_ACS);",
        "after",
        "\n\tif (aritrace_lab_adopt_acs(dev))\n\t\treturn;",
    ),
    # At kexec, in pci_device_shutdown(): preserved devices may go on with DMA.
    Edit(
        "drivers/pci/pci-driver.c",
        "if (kexec_in_progress && (pci_dev->current_state <= PCI_D3hot))",
        "instead",
        "if (kexec_in_progress && !aritrace_lab_outgoing(pci_dev) &&\n"
        "\t    (pci_dev->current_state <= PCI_D3hot))",
    ),
)
