/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Laboratory stand-in for the Live Update hooks of the PCI core; added by "analyze lab build". */
#ifndef ARITRACE_LAB_H
#define ARITRACE_LAB_H

#include <linux/pci.h>

/* The previous kernel handed this device over (lab_preserved=). */
bool aritrace_lab_incoming(struct pci_dev *dev);

/* This kernel will hand the device over to the next one (lab_will_preserve=). */
bool aritrace_lab_outgoing(struct pci_dev *dev);

/* Say so for a device that is being set up. */
void aritrace_lab_announce(struct pci_dev *dev);

/* Take ARI of a preserved bridge as the hardware shows it. True: decided, nothing else may touch it. */
bool aritrace_lab_inherit_ari(struct pci_dev *bridge);

/* Bus numbers must stay as they are: leave an unconfigured bridge alone. True: skip it. */
bool aritrace_lab_refuse_bus_numbers(struct pci_dev *bridge);

#endif
