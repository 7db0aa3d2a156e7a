// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Laboratory stand-in for the Live Update hooks of the PCI core; added by "analyze lab build".
 *
 * The real series learns the preserved devices from memory that the previous kernel handed over. Here they come
 * from the command line, so that a kernel without Live Update can show what the rules do:
 *
 *   lab_preserved=BDF,...       devices that the previous kernel preserved: endpoints and the bridges above them
 *   lab_will_preserve=BDF,...   devices that this kernel preserves for the next one
 *   lab_liveupdate=N            the number of this Live Update (default 1)
 *   lab_policy=inherit|serialize|heal
 *                               how ARI of a preserved bridge is decided (default inherit, as the series does)
 *   lab_saved_ari=BDF,...       for serialize: the bridges that had ARI on in the previous kernel
 *   lab_series=v6|v7|v9         the version whose rules for bus numbers and ACS apply (default v7, as v6)
 *
 * A BDF is [dddd:]bb:dd.f in hexadecimal.
 */
#define pr_fmt(fmt) fmt

#include <linux/device/driver.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/pci.h>
#include <linux/string.h>

#include "pci.h"
#include "aritrace_lab.h"

struct lab_set {
	unsigned int count;
	struct {
		int domain;
		u8 bus;
		u8 devfn;
	} entry[320];
};

enum lab_policy { LAB_INHERIT, LAB_SERIALIZE, LAB_HEAL };

static struct lab_set incoming_set, outgoing_set, saved_ari_set;
static enum lab_policy policy;
static int liveupdate_number = 1;
static bool rules_of_v9;

static int parse_bdf(struct lab_set *set, const char *text)
{
	unsigned int domain = 0, bus, slot, function;
	int used = 0;

	if (sscanf(text, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &used) != 4) {
		domain = 0;
		if (sscanf(text, "%x:%x.%x%n", &bus, &slot, &function, &used) != 3)
			return -EINVAL;
	}
	if (text[used] || bus > 255 || slot > 31 || function > 7 || set->count >= ARRAY_SIZE(set->entry))
		return -EINVAL;
	set->entry[set->count].domain = domain;
	set->entry[set->count].bus = bus;
	set->entry[set->count].devfn = PCI_DEVFN(slot, function);
	set->count++;
	return 0;
}

/* Entries that cannot be read are reported and skipped: the lab compares the log with what it asked for. */
static int parse_set(struct lab_set *set, const char *list)
{
	char item[24];
	size_t length;

	while (list && *list) {
		length = strcspn(list, ",");
		if (length && length < sizeof(item)) {
			memcpy(item, list, length);
			item[length] = '\0';
			if (parse_bdf(set, item))
				pr_err("lab: cannot use device \"%s\"\n", item);
		} else if (length) {
			pr_err("lab: device name too long\n");
		}
		list += length;
		list += *list == ',';
	}
	return 0;
}

static int __init parse_incoming(char *list)
{
	return parse_set(&incoming_set, list);
}
early_param("lab_preserved", parse_incoming);

static int __init parse_outgoing(char *list)
{
	return parse_set(&outgoing_set, list);
}
early_param("lab_will_preserve", parse_outgoing);

static int __init parse_saved(char *list)
{
	return parse_set(&saved_ari_set, list);
}
early_param("lab_saved_ari", parse_saved);

static int __init parse_number(char *text)
{
	return kstrtoint(text, 0, &liveupdate_number);
}
early_param("lab_liveupdate", parse_number);

static int __init parse_policy(char *name)
{
	if (!strcmp(name, "inherit"))
		policy = LAB_INHERIT;
	else if (!strcmp(name, "serialize"))
		policy = LAB_SERIALIZE;
	else if (!strcmp(name, "heal"))
		policy = LAB_HEAL;
	else
		pr_err("lab: no policy \"%s\"\n", name);
	return 0;
}
early_param("lab_policy", parse_policy);

static int __init parse_series(char *name)
{
	if (!strcmp(name, "v9"))
		rules_of_v9 = true;
	else if (strcmp(name, "v6") && strcmp(name, "v7"))
		pr_err("lab: no series \"%s\"\n", name);
	return 0;
}
early_param("lab_series", parse_series);

static bool contains(const struct lab_set *set, struct pci_dev *dev)
{
	unsigned int i;

	for (i = 0; i < set->count; i++)
		if (set->entry[i].domain == pci_domain_nr(dev->bus) &&
		    set->entry[i].bus == dev->bus->number && set->entry[i].devfn == dev->devfn)
			return true;
	return false;
}

bool aritrace_lab_incoming(struct pci_dev *dev)
{
	return contains(&incoming_set, dev);
}

bool aritrace_lab_outgoing(struct pci_dev *dev)
{
	return contains(&outgoing_set, dev);
}

void aritrace_lab_announce(struct pci_dev *dev)
{
	if (aritrace_lab_incoming(dev))
		pci_info(dev, "Device was preserved by previous kernel across Live Update\n");
}

/* A preserved function directly below that only ARI can address? */
static bool needs_ari(struct pci_dev *bridge)
{
	unsigned int i;

	for (i = 0; i < incoming_set.count; i++)
		if (bridge->subordinate && incoming_set.entry[i].domain == pci_domain_nr(bridge->bus) &&
		    incoming_set.entry[i].bus == bridge->subordinate->number &&
		    incoming_set.entry[i].devfn >= 8)
			return true;
	return false;
}

bool aritrace_lab_inherit_ari(struct pci_dev *bridge)
{
	bool wanted, found;
	u16 control = 0;

	if (!aritrace_lab_incoming(bridge))
		return false;

	pcie_capability_read_word(bridge, PCI_EXP_DEVCTL2, &control);
	found = control & PCI_EXP_DEVCTL2_ARI;
	wanted = found;
	if (policy == LAB_SERIALIZE)
		wanted = contains(&saved_ari_set, bridge);
	else if (policy == LAB_HEAL)
		wanted = found || needs_ari(bridge);
	if (wanted != found) {
		control ^= PCI_EXP_DEVCTL2_ARI;
		pcie_capability_write_word(bridge, PCI_EXP_DEVCTL2, control);
	}
	bridge->ari_enabled = wanted;
	pci_info(bridge, "lab: ari %d in hardware, %d used\n", found, wanted);
	return true;
}

/* A preserved bridge on this bus that has no bus below it: what it had was reset in the blackout. */
static struct pci_dev *preserved_without_numbers(struct pci_bus *bus)
{
	struct pci_dev *dev;

	list_for_each_entry(dev, &bus->devices, bus_list)
		if (pci_is_bridge(dev) && !dev->subordinate && aritrace_lab_incoming(dev))
			return dev;
	return NULL;
}

bool aritrace_lab_refuse_bus_numbers(struct pci_dev *bridge)
{
	struct pci_dev *lost;

	if (!incoming_set.count)
		return false;
	if (!rules_of_v9) {
		pci_err(bridge, "Cannot reconfigure bridge during Live Update, skipping\n");
		return true;
	}
	lost = preserved_without_numbers(bridge->bus);
	if (lost)
		pci_err(bridge, "Not assigning bus numbers, preserved bridge %s lost its bus number configuration\n",
			pci_name(lost));
	return lost;
}

/*
 * Series v9 keeps ACS Control in the saved state of every function, one word, and leaves the register of a preserved
 * one as it is. Before v9 it is set up as the stock kernel does it.
 */
void aritrace_lab_add_acs_buffer(struct pci_dev *dev)
{
	if (rules_of_v9 && pci_add_ext_cap_save_buffer(dev, PCI_EXT_CAP_ID_ACS, sizeof(u16)))
		pci_err(dev, "lab: no memory for ACS Control\n");
}

static u16 *saved_acs(struct pci_dev *dev)
{
	struct pci_cap_saved_state *state = NULL;

	if (rules_of_v9 && dev->acs_cap)
		state = pci_find_saved_ext_cap(dev, PCI_EXT_CAP_ID_ACS);
	return state ? (u16 *)&state->cap.data[0] : NULL;
}

void aritrace_lab_save_acs(struct pci_dev *dev)
{
	u16 *control = saved_acs(dev);

	if (control)
		pci_read_config_word(dev, dev->acs_cap + PCI_ACS_CTRL, control);
}

bool aritrace_lab_restore_acs(struct pci_dev *dev)
{
	u16 *control = saved_acs(dev);

	if (control)
		pci_write_config_word(dev, dev->acs_cap + PCI_ACS_CTRL, *control);
	return control;
}

bool aritrace_lab_adopt_acs(struct pci_dev *dev)
{
	if (!rules_of_v9 || !dev->acs_cap || !aritrace_lab_incoming(dev))
		return false;
	if (!saved_acs(dev)) {
		pci_warn(dev, "No ACS save buffer, not adopting ACS controls\n");
		return false;
	}
	return true;
}

/* What the Live Update orchestrator prints when it finds handed-over data. */
static int __init announce_live_update(void)
{
	if (incoming_set.count) {
		pr_info("KHO: found kexec handover data.\n");
		pr_info("luo: Retrieved live update data, liveupdate number: %d\n", liveupdate_number);
	}
	return 0;
}
early_initcall(announce_live_update);

/* After the drivers are bound, as their names begin the lines. */
static int __init announce_outgoing(void)
{
	struct pci_dev *dev = NULL;

	if (!outgoing_set.count)
		return 0;
	wait_for_device_probe();
	for_each_pci_dev(dev)
		if (aritrace_lab_outgoing(dev))
			pci_info(dev, "Device will be preserved across next Live Update\n");
	return 0;
}
late_initcall_sync(announce_outgoing);
