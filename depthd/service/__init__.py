"""What makes the daemon a service: systemd, deadlines, real time, metrics. Quiet outside systemd."""
