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

/* Second pass over a bridge without bus numbers. True: it must not get any, skip it. */
bool aritrace_lab_refuse_bus_numbers(struct pci_dev *bridge);

/* Make room for ACS Control in the saved state (series v9). */
void aritrace_lab_add_acs_buffer(struct pci_dev *dev);

/* Save ACS Control (series v9). */
void aritrace_lab_save_acs(struct pci_dev *dev);

/* Write the saved ACS Control (series v9). True: done, nothing else may set it up. */
bool aritrace_lab_restore_acs(struct pci_dev *dev);

/* ACS of a preserved function stays as it is (series v9). True: nothing may set it up. */
bool aritrace_lab_adopt_acs(struct pci_dev *dev);

#endif
