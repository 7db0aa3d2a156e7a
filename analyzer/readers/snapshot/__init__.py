"""Dumps of config space at one moment: lspci -xxxx, sysfs, pci=earlydump."""
