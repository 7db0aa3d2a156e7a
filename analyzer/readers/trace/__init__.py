"""Events of Linux's tracefs: trace.dat of trace-cmd, and the text of trace-cmd, tracefs and perf."""
