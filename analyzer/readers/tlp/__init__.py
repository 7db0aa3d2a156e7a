"""PCIe transaction layer packets in pcap and pcapng files."""
